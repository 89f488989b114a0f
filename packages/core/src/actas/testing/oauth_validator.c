/*
 * A validator for PostgreSQL 18 that asks somebody else: it sends the token over a unix socket and gets the name of the
 * user whom it is for, or nothing. For tests: what it asks there verifies signatures; a validator that you can install
 * does so itself.
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "fmgr.h"
#include "libpq/oauth.h"

PG_MODULE_MAGIC;

static bool
validate(const ValidatorModuleState *state, const char *token, const char *role, ValidatorModuleResult *result)
{
	struct sockaddr_un there = {.sun_family = AF_UNIX, .sun_path = ASK_AT};
	struct timeval patience = {.tv_sec = 5};
	char		name[NAMEDATALEN];
	size_t		length = 0;
	ssize_t		got;
	int			fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *) &there, sizeof(there)) != 0
		|| send(fd, token, strlen(token), 0) != (ssize_t) strlen(token)
		|| shutdown(fd, SHUT_WR) != 0)
	{
		close(fd);
		return false;
	}
	while (length < sizeof(name) - 1 && (got = recv(fd, name + length, sizeof(name) - 1 - length, 0)) > 0)
		length += got;
	close(fd);
	name[length] = '\0';
	if (length > 0)
	{
		result->authn_id = pstrdup(name);
		result->authorized = true;
	}
	return true;
}

static const OAuthValidatorCallbacks callbacks = {PG_OAUTH_VALIDATOR_MAGIC, .validate_cb = validate};

const OAuthValidatorCallbacks *
_PG_oauth_validator_module_init(void)
{
	return &callbacks;
}
