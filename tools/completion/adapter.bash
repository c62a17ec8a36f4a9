# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Completion of adapter-opt and adapter-run for bash and, after `autoload bashcompinit && bashcompinit`, zsh:
#   source tools/completion/adapter.bash
# The words come from the tools' own --help and from `adapter-run info` of the model on the command line, so that they
# are those of the version and of the model at hand.

_adapter_options() { # COMMAND [SUBCOMMAND]: the options in its help, one a line
  "$@" --help 2>/dev/null | grep -oE '^ +-[-a-z]+(, ?-[-a-z]+)*' | tr -d ' ' | tr ',' '\n' | sort -u
}

_adapter_phases() { # COMMAND: its phases, as it names them to who asks for one that is not there
  "$1" --compile-to=? - </dev/null 2>&1 | sed -nE 's/.*the phases are (.*)/\1/p' | tr -d ',' | tr ' ' '\n'
}

_adapter_model() { # the model on the command line: the first folder that holds an artifact's manifest
  local word
  for word in "${COMP_WORDS[@]:1}"; do
    word=${word/#\~\//$HOME/}
    if [ -e "$word/manifest.pb" ]; then
      printf '%s\n' "$word"
      return
    fi
  done
}

# COMMAND LIST: the names in one of the lists that `adapter-run info` prints (adapters, slots, entries, scalars), or the
# inputs of its entries. The JSON is indented by two, so the depth of a name is the number of blanks before it.
_adapter_names() {
  local model within=$2
  model=$(_adapter_model)
  [ -n "$model" ] || return
  [ "$2" = inputs ] && within=entries
  "$1" info --no-check "$model" 2>/dev/null |
    awk -v list="  \"$within\": [" -v inner="$2" '
      $0 == list { inside = 1; next }
      /^  \]/ { inside = 0 }
      inside && inner == "inputs" && /^      "inputs": \[/ { inputs = 1 }
      inside && /^      \]/ { inputs = 0 }
      inside && (inner == "inputs" ? inputs && /^          "name": "/ : /^      "name": "/) {
        sub(/^ *"name": "/, ""); sub(/",?$/, ""); if (!/\\/) print
      }' | sort -u
}

_adapter_adapters() { # COMMAND: adapters of the model, and those that --load brings
  local i
  _adapter_names "$1" adapters
  for ((i = 1; i < COMP_CWORD; ++i)); do
    [ "${COMP_WORDS[i]}" = --load ] && printf '%s\n' "${COMP_WORDS[i + 1]%%=*}"
  done
}

_adapter_offer() { # VALUE OFFSET PREFIX: of the lines on stdin, each behind PREFIX, those that VALUE begins
  local line
  while IFS= read -r line; do
    line=$3$line
    [[ $line == "$1"* ]] || continue
    COMPREPLY+=("${line:$2}")
    [[ $line == *[=.] ]] && compopt -o nospace 2>/dev/null
  done
}

_adapter_files() { # VALUE OFFSET PREFIX: files, each behind PREFIX
  compopt -o filenames 2>/dev/null
  _adapter_offer "$1" "$2" "$3" < <(compgen -f -- "${1#"$3"}")
}

# Values that a model on the command line knows. Fails where the option has none such.
_adapter_run_value() { # COMMAND OPTION VALUE OFFSET
  local head name
  case $2 in
    --adapter | --row-adapters)
      head=${3%"${3##*[,/+*]}"}
      _adapter_offer "$3" "$4" "$head" < <(_adapter_adapters "$1") ;;
    --set)
      [[ $3 == *=* ]] && return
      _adapter_offer "$3" "$4" "" < <(
        _adapter_names "$1" scalars | sed 's/$/=/'
        while IFS= read -r name; do printf '%s\n' "$name.scale=" "$name.rank=" "$name.task="; done < <(_adapter_adapters "$1")) ;;
    --load)
      if [[ $3 == *,slot=* ]]; then
        _adapter_offer "$3" "$4" "${3%%,slot=*},slot=" < <(_adapter_names "$1" slots)
      elif [[ $3 == *=* ]]; then
        _adapter_files "$3" "$4" "${3%%=*}="
        [[ -e ${3#*=} ]] && _adapter_offer "$3" "$4" "" < <(printf '%s\n' "$3,slot=")
      fi ;;
    --input)
      if [[ $3 == *=* ]]; then
        _adapter_files "$3" "$4" "${3%%=*}="
      else
        _adapter_offer "$3" "$4" "" < <(_adapter_names "$1" inputs | sed 's/$/=/')
        [ -n "$3" ] && _adapter_offer "$3" "$4" "" < <(compgen -f -X '!*.npz' -- "$3")
      fi ;;
    --entry) _adapter_offer "$3" "$4" "" < <(_adapter_names "$1" entries) ;;
    --collectives) _adapter_offer "$3" "$4" "" < <(printf '%s\n' auto mpi none) ;;
    *) return 1 ;;
  esac
}

# bash splits words at "=" and ":", so what is one word to the tool may be several here; only what follows the last
# split is replaced.
_adapter_complete() {
  local tool=$1 last=${COMP_WORDS[COMP_CWORD]} at=$COMP_CWORD full option='' value offset sub='' subs
  full=$last
  [[ $last == [=:] ]] && last=''
  while ((at > 1)) && [[ ${COMP_WORDS[at]} == [=:] || ${COMP_WORDS[at - 1]} == [=:] ]]; do
    at=$((at - 1))
    full=${COMP_WORDS[at]}$full
  done
  value=$full
  if [[ $full == --*=* ]]; then
    option=${full%%=*} value=${full#*=}
  elif ((at > 1)) && [[ ${COMP_WORDS[at - 1]} == -* ]]; then
    option=${COMP_WORDS[at - 1]}
  fi
  offset=$((${#value} - ${#last}))
  ((offset < 0)) && offset=0
  COMPREPLY=()
  subs="diff verify export convert combine"
  [ "${tool##*/}" = adapter-run ] && subs="run info bench switch verify profile generate"
  ((at > 1)) && [[ " $subs " == *" ${COMP_WORDS[1]} "* ]] && sub=${COMP_WORDS[1]}

  if [[ $full == -* && $full != *=* ]]; then
    [[ ${tool##*/} == adapter-run && -z $sub ]] && sub=run
    _adapter_offer "$full" 0 "" < <(_adapter_options "$tool" ${sub:+"$sub"})
    return
  fi
  case ${tool##*/}:$option in
    adapter-opt:--compile-to) _adapter_offer "$value" "$offset" "" < <(_adapter_phases "$tool") ;;
    adapter-opt:--target) _adapter_offer "$value" "$offset" "" < <(printf '%s\n' cpu cpu:native cpu:x86-64-v3 cpu:x86-64-v4 cpu:x86-64-v4+bf16) ;;
    adapter-opt:--report) _adapter_offer "$value" "$offset" "" < <(printf '%s\n' text json html) ;;
    adapter-run:--*) _adapter_run_value "$tool" "$option" "$value" "$offset" && return ;;
    adapter-opt:--adapter) # of `verify model.adapt`: one of the model's, which the runtime's command knows
      [ "$sub" = verify ] && _adapter_run_value "${tool%opt}run" "$option" "$value" "$offset" && return ;;
  esac
  ((at == 1)) && _adapter_offer "$full" 0 "" < <(printf '%s\n' $subs)
  [ -n "${COMPREPLY[*]}" ] || _adapter_files "$value" "$offset" ""
}

complete -F _adapter_complete adapter-opt adapter-run
