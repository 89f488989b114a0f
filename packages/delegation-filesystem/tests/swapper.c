/* A hostile process: swaps files and folders for links, as fast as the kernel lets it.
 *
 * swapper FOLDER SECRET TIMES SECONDS
 *
 * In FOLDER it exchanges "file" with "file-link" and "folder" with "folder-link", and gives the name "linked" by turns
 * to a file of its own and, as a second name, to SECRET, which it takes away again in between. It ends after TIMES
 * swaps or SECONDS, or when its standard input ends, and prints how many there were.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int at = open(argv[1], O_RDONLY | O_DIRECTORY);
	long times = atol(argv[3]), done = 0;
	double until = now() + atof(argv[4]);
	struct pollfd input = {.fd = 0, .events = POLLIN};

	if (at < 0)
		return 3;
	for (long turn = 0; done < times; turn++) {
		done += renameat2(at, "file", at, "file-link", RENAME_EXCHANGE) == 0;
		done += renameat2(at, "folder", at, "folder-link", RENAME_EXCHANGE) == 0;
		if (turn % 8 == 0) {
			linkat(AT_FDCWD, argv[2], at, "linked", 0);
			unlinkat(at, "linked", 0);
			linkat(at, "own", at, "linked", 0);
			unlinkat(at, "linked", 0);
			done += 2;
		}
		if (turn % 256 == 0 && (now() > until || poll(&input, 1, 0) != 0))
			break;
	}
	printf("%ld\n", done);
	return 0;
}
