# Completion of nightcrew for fish. Written by: nightcrew completion fish
function __nightcrew_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    for line in (command nightcrew __complete $typed[2..-1] "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c nightcrew -f -a '(__nightcrew_complete)'
