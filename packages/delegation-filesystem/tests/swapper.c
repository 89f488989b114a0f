/* A hostile process: swaps files and folders for links, as fast as the kernel lets it.
 *
 * swapper FOLDER SECRET TIMES SECONDS EVERY
 *
 * In FOLDER it exchanges "file" with "file-link" and "folder" with "folder-link", and, EVERY so many turns, gives the name
 * "linked" to SECRET as a second name, takes it away again, and gives it to a file of its own. It ends after TIMES swaps
 * or SECONDS, or when its standard input ends, and prints how many there were.
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
	if (argc != 6)
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
		if (turn % atol(argv[5]) == 0) {
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
