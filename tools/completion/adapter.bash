# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Completion of adapter-opt and adapter-run for bash and, after `autoload bashcompinit && bashcompinit`, zsh:
#   source tools/completion/adapter.bash
# The words come from the tools' own --help, so that they are those of the version at hand.

_adapter_options() { # COMMAND [SUBCOMMAND]: the options in its help, one a line
  "$@" --help 2>/dev/null | sed -nE 's/^ +(-[-a-z]+).*/\1/p' | sort -u
}

_adapter_phases() { # COMMAND: its phases, as it names them to who asks for one that is not there
  "$1" --compile-to=? - </dev/null 2>&1 | sed -nE 's/.*the phases are (.*)/\1/p' | tr -d ','
}

# Completes the word before the cursor; "--option=" or "--option" "=" stand before it where it is a value.
_adapter_complete() {
  local tool=$1 word=$2 option='' at=$((COMP_CWORD - 1)) words=''
  [ "$word" = "=" ] && word='' && at=$COMP_CWORD
  [ "${COMP_WORDS[at]}" = "=" ] && at=$((at - 1))
  [[ ${COMP_WORDS[at]} == -* ]] && option=${COMP_WORDS[at]}
  COMPREPLY=()
  case ${tool##*/}:$option in
    adapter-opt:--compile-to) words=$(_adapter_phases "$tool") ;;
    adapter-opt:--target) words="cpu cpu:native cpu:x86-64-v3 cpu:x86-64-v4" ;;
    adapter-opt:--report) words="text json html" ;;
    *)
      if [[ $word == -* && ${tool##*/} == adapter-run && $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} != *.adapt ]]; then
        words=$(_adapter_options "$tool" "${COMP_WORDS[1]}")
      elif [[ $word == -* && ${tool##*/} == adapter-run ]]; then
        words=$(_adapter_options "$tool" run)
      elif [[ $word == -* ]]; then
        words=$(_adapter_options "$tool")
      elif [[ $COMP_CWORD -eq 1 && ${tool##*/} == adapter-run ]]; then
        words="run info bench verify switch profile"
      fi
      ;;
  esac
  [ -n "$words" ] && mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  [[ $word == -* || -n ${COMPREPLY[*]} ]] || mapfile -t COMPREPLY < <(compgen -f -- "$word")
}

complete -o filenames -F _adapter_complete adapter-opt adapter-run
