# Completion of mixbct in fish. `mixbct completion fish LINE` says what may stand at the end of a line: "words", then what
# can be inserted, a line each; or "files", for what fish knows better.
function __mixbct_complete
    set -l program (commandline -opc)[1]
    set -l found (command $program completion fish (commandline -cp | string collect) 2>/dev/null)
    if test "$found[1]" = files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $found[2..-1]
    end
end
complete -c mixbct -f -a '(__mixbct_complete)'
