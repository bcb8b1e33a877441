#compdef mixbct
# Completion of mixbct in zsh. `mixbct completion zsh LINE` says what may stand at the end of a line: "words", then what can
# be inserted, a line each; or "files", for what zsh knows better.
_mixbct() {
  local line="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX"
  local -a found=("${(@f)$(command -- ${(Q)words[1]} completion zsh "$line" 2>/dev/null)}")
  if [[ $found[1] == files ]]; then
    compset -P '*='
    _files
    return
  fi
  shift found
  local -a open=(${(M)found:#*[=./,]}) whole=(${found:#*[=./,]})
  compadd -S '' -a open
  compadd -a whole
}
if [[ $funcstack[1] == _mixbct ]]; then _mixbct; else compdef _mixbct mixbct; fi
