#compdef nightcrew
# Completion of nightcrew for zsh. Written by: nightcrew completion zsh
_nightcrew() {
  local -a candidates
  local line value
  while IFS= read -r line; do
    if [[ $line == ":files" ]]; then
      _files
    else
      value=${line%%$'\t'*}
      candidates+=("${value//:/\\:}:${line#*$'\t'}")
    fi
  done < <(command nightcrew __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( ${#candidates} )) && _describe -t nightcrew nightcrew candidates
}
if [[ ${funcstack[1]} == _nightcrew ]]; then
  _nightcrew "$@"
elif (( $+functions[compdef] )); then
  compdef _nightcrew nightcrew
fi
