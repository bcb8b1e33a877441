# Completion of mixbct in bash. `mixbct completion bash LINE BREAKS` says what may stand at the end of a line: "words", then
# what can be inserted, a line each; or "files", for what bash knows better.
_mixbct() {
  local program=$1 kind
  type -P -- "$program" >/dev/null || program=mixbct
  COMPREPLY=()
  {
    read -r kind
    mapfile -t COMPREPLY
  } < <(command -- "$program" completion bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
  if [[ $kind == files ]]; then compopt -o default; fi
  if [[ ${COMPREPLY[0]-} == *[=./,] ]]; then compopt -o nospace; fi
}
complete -F _mixbct mixbct
