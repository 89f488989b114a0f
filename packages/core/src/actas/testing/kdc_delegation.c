/* A KDC database for tests: Debian's own "db2", and two lists of who may delegate to whom, which that one lacks.
 *
 * LISTS is a text file that is read anew for each question; its lines are
 *     to SERVICE TARGET      SERVICE may go on to TARGET            (constrained delegation)
 *     from TARGET SERVICE    TARGET takes who comes through SERVICE (resource-based)
 *     is NAME PRINCIPAL      the enterprise name NAME is PRINCIPAL's
 */
#include <dlfcn.h>
#include <kdb.h>
#include <krb5.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LONGEST 512

kdb_vftabl kdb_function_table;

/* Whether a line has KIND, FIRST and SECOND; any second where that is NULL. */
static int listed(krb5_context context, const char *kind, krb5_const_principal first, krb5_const_principal second)
{
    char line[3 * LONGEST], word[8], left[LONGEST], right[LONGEST];
    char *wanted_left = NULL, *wanted_right = NULL;
    int found = 0;
    FILE *lists = fopen(LISTS, "r");

    if (lists == NULL)
        return 0;
    if (krb5_unparse_name(context, first, &wanted_left) == 0 &&
        (second == NULL || krb5_unparse_name(context, second, &wanted_right) == 0)) {
        while (!found && fgets(line, sizeof(line), lists) != NULL)
            found = sscanf(line, "%7s %511s %511s", word, left, right) == 3 && strcmp(word, kind) == 0 &&
                    strcmp(left, wanted_left) == 0 && (second == NULL || strcmp(right, wanted_right) == 0);
    }
    krb5_free_unparsed_name(context, wanted_left);
    krb5_free_unparsed_name(context, wanted_right);
    fclose(lists);
    return found;
}

static krb5_error_code may_go_on(krb5_context context, krb5_const_principal user, const krb5_db_entry *service,
                                 krb5_const_principal target)
{
    (void)user;
    return listed(context, "to", service->princ, target) ? 0 : KRB5KDC_ERR_BADOPTION;
}

static krb5_error_code may_come(krb5_context context, krb5_const_principal user, krb5_const_principal service,
                                krb5_pac pac, const krb5_db_entry *target)
{
    (void)user;
    (void)pac;
    return listed(context, "from", target->princ, service) ? 0 : KRB5KDC_ERR_BADOPTION;
}

static krb5_error_code (*db2_get_principal)(krb5_context, krb5_const_principal, unsigned int, krb5_db_entry **);

/* For NAME@REALM of another realm, the way there: krbtgt/REALM. NULL for any other name. */
static krb5_principal referral(krb5_context context, krb5_const_principal name)
{
    char realm[LONGEST];
    unsigned int length = name->data[0].length, at = length;
    krb5_principal way = NULL;

    while (at > 0 && name->data[0].data[at - 1] != '@')
        at--;
    if (at == 0 || length - at >= sizeof(realm))
        return NULL;
    memcpy(realm, name->data[0].data + at, length - at);
    realm[length - at] = '\0';
    if (strlen(realm) == name->realm.length && strncmp(realm, name->realm.data, name->realm.length) == 0)
        return NULL;
    if (krb5_build_principal(context, &way, name->realm.length, name->realm.data, "krbtgt", realm, (char *)NULL) != 0)
        return NULL;
    return way;
}

/* The principal whose enterprise name this is, or NULL. */
static krb5_principal meant(krb5_context context, krb5_const_principal name)
{
    char line[3 * LONGEST], word[8], left[LONGEST], right[LONGEST];
    krb5_principal principal = NULL;
    FILE *lists;

    if (name->type != KRB5_NT_ENTERPRISE_PRINCIPAL || name->length != 1 || (lists = fopen(LISTS, "r")) == NULL)
        return NULL;
    while (principal == NULL && fgets(line, sizeof(line), lists) != NULL)
        if (sscanf(line, "%7s %511s %511s", word, left, right) == 3 && strcmp(word, "is") == 0 &&
            strlen(left) == name->data[0].length && strncasecmp(left, name->data[0].data, strlen(left)) == 0 &&
            krb5_parse_name(context, right, &principal) != 0)
            principal = NULL;
    fclose(lists);
    return principal == NULL ? referral(context, name) : principal;
}

static krb5_error_code get_principal(krb5_context context, krb5_const_principal name, unsigned int flags,
                                     krb5_db_entry **entry)
{
    krb5_principal principal = meant(context, name);
    krb5_error_code failed = db2_get_principal(context, principal == NULL ? name : principal, flags, entry);

    krb5_free_principal(context, principal);
    return failed;
}

__attribute__((constructor)) static void take_over(void)
{
    void *library = dlopen(DB2, RTLD_NOW);
    kdb_vftabl *original = library == NULL ? NULL : dlsym(library, "kdb_function_table");

    if (original == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return; /* the table stays empty, and the KDC does not start */
    }
    kdb_function_table = *original;
    db2_get_principal = original->get_principal;
    kdb_function_table.get_principal = get_principal;
    kdb_function_table.check_allowed_to_delegate = may_go_on;
    kdb_function_table.allowed_to_delegate_from = may_come;
}
