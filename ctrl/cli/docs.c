/* What is made of the command table: completion for bash, and the man page. */
#include "ctrl/cli/wwctl.h"

#include <stdio.h>
#include <string.h>

static const char completion_head[] = "# bash completion for wwctl; made by: wwctl completion\n"
                                      "_wwctl() {\n"
                                      "    local cur=${COMP_WORDS[COMP_CWORD]} said= i c rest options=\n"
                                      "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                                      "        case ${COMP_WORDS[i]} in\n"
                                      "        --json | --dry-run | --help) ;;\n"
                                      "        -*) i=$((i + 1)) ;;\n"
                                      "        *) said+=\"${COMP_WORDS[i]} \" ;;\n"
                                      "        esac\n"
                                      "    done\n"
                                      "    case $said in\n";
static const char completion_middle[] = "    esac\n"
                                        "    COMPREPLY=()\n"
                                        "    if [[ $cur == -* ]]; then\n"
                                        "        mapfile -t COMPREPLY < <(compgen -W \"$options --admin "
                                        "--remote --cert --key --ca --server-name --json "
                                        "--dry-run --help\" -- \"$cur\")\n"
                                        "        return\n"
                                        "    fi\n"
                                        "    for c in";
static const char completion_tail[] =
    "; do\n"
    "        if [[ $c == \"$said$cur\"* ]]; then\n"
    "            rest=${c#\"$said\"}\n"
    "            COMPREPLY+=(\"${rest%% *}\")\n"
    "        fi\n"
    "    done\n"
    "    [[ ${#COMPREPLY[@]} -gt 0 ]] || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "}\n"
    "complete -o filenames -F _wwctl wwctl\n";

void docs_completion(void)
{
    fputs(completion_head, stdout);
    for (size_t i = 0; i < command_count; i++) {
        printf("    '%s '*) options='", commands[i].name);
        for (size_t j = 0; j < commands[i].option_count; j++) {
            if (commands[i].options[j].name[0] == '-')
                printf("%s ", commands[i].options[j].name);
        }
        printf("' ;;\n");
    }
    fputs(completion_middle, stdout);
    for (size_t i = 0; i < command_count; i++)
        printf(" '%s'", commands[i].name);
    fputs(completion_tail, stdout);
}

/* roff: a dash is an option's, a leading dot is no request. */
static void roff(const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
    }
}

static void man_command(const struct command *c)
{
    printf(".TP\n.B wwctl ");
    roff(c->name);
    for (size_t i = 0; i < c->option_count; i++) {
        const struct option_spec *o = &c->options[i];

        printf(o->needed ? " " : " [");
        roff(o->name);
        if (o->name[0] == '-')
            printf(" VALUE");
        if (!o->needed)
            putchar(']');
    }
    putchar('\n');
    roff(c->help);
    putchar('\n');
    for (size_t i = 0; i < c->option_count; i++) {
        printf(".RS\n.TP\n.I ");
        roff(c->options[i].name);
        putchar('\n');
        roff(c->options[i].help);
        printf("\n.RE\n");
    }
}

static const char man_head[] = ".\\\" Made by: wwctl man >docs/wwctl.1\n"
                               ".TH WWCTL 1 \"\" Wirewrap \"Wirewrap\"\n"
                               ".SH NAME\nwwctl \\- tells ww\\-ctrl what to do\n"
                               ".SH SYNOPSIS\n.B wwctl\n[OPTION...] COMMAND [ARGUMENT...]\n"
                               ".SH DESCRIPTION\nKeys, policies, slots of the root key, approvals, the "
                               "audit: everything that an operator of Wirewrap "
                               "decides. It talks to ww\\-ctrl on its local socket, or with\n.B "
                               "\\-\\-remote\nfrom another machine over TLS with a "
                               "client certificate.\n"
                               ".SH COMMANDS\n";
static const char man_tail[] =
    ".SH OPTIONS\n"
    ".TP\n.B \\-\\-admin \\fISOCKET\\fR\nww\\-ctrl's admin socket; without it $WW_ADMIN, then " SOCKET_DEFAULT
    "\n"
    ".TP\n.B \\-\\-remote \\fIHOST:PORT\\fR\nww\\-ctrl's remote door, as admin.listen of its configuration "
    "says; or "
    "$WWCTL_REMOTE\n"
    ".TP\n.B \\-\\-cert \\fIFILE\\fR, \\fB\\-\\-key \\fIFILE\\fR, \\fB\\-\\-ca \\fIFILE\\fR\nthe client "
    "certificate, its "
    "key, the authority of ww\\-ctrl's; or $WWCTL_CERT, $WWCTL_KEY, $WWCTL_CA\n"
    ".TP\n.B \\-\\-server\\-name \\fINAME\\fR\nthe name in ww\\-ctrl's certificate where it is not HOST\n"
    ".TP\n.B \\-\\-json\none JSON object on standard output\n"
    ".TP\n.B \\-\\-dry\\-run\na change is checked and shown, and not made\n"
    ".TP\n.B \\-\\-help\nafter a command: its options\n"
    ".SH EXIT STATUS\n0 done; 1 refused, nothing was changed; 2 wrong usage, nothing was sent; 3 ww\\-ctrl "
    "or the "
    "dataplane did not answer; 4 the change waits for the signatures of approvers\n"
    ".SH SEE ALSO\ndocs/OPERATIONS.md\n";

void docs_man(void)
{
    fputs(man_head, stdout);
    for (size_t i = 0; i < command_count; i++)
        man_command(&commands[i]);
    fputs(man_tail, stdout);
}
