# SPDX-License-Identifier: LGPL-2.1-or-later
# docs/talk.md and demo/run say the same command lines. (That the demo runs them is asserted by the demo itself.)

@test "the demo's command lines are those of docs/talk.md" {
    cd "$BATS_TEST_DIRNAME/../.."
    transcript=$(sed -nE '/^```$/,/^```$/{s/^(\$ |# )(.*)/\2/p}' docs/talk.md)
    [ "$(wc -l <<<"$transcript")" -gt 25 ]
    ref=$(sed -nE 's/^ref=//p' demo/run)
    # every way in which demo/run puts a line into its transcript, in the order of the script
    demo=$(sed -nE "
        s/^show ['\"](.*)['\"]\$/\1/p
        s/^echo '(.*)' >>\"\\\$work\/commands\"\$/\1/p
        s/^typed=\('(.*)'\)\$/\1/p" demo/run | sed "s/' '/\n/g; s#\\\$ref#$ref#")
    diff <(echo "$transcript") <(echo "$demo")
}
