# Completion of nightcrew for bash 3.2 and later. Written by: nightcrew completion bash
_nightcrew() {
  local current=${COMP_WORDS[COMP_CWORD]} line
  COMPREPLY=()
  [[ $current == "=" ]] && current=
  while IFS= read -r line; do
    if [[ $line == ":files" ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
    else
      COMPREPLY+=("${line%%$'\t'*}")
    fi
  done < <(command nightcrew __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _nightcrew nightcrew
