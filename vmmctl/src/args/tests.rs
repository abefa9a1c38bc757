//! What the command line takes and what it refuses.

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

fn check(begin: &str, ends: &[(&str, bool)]) {
    for (end, accepted) in ends {
        let line = format!("vmmctl {begin} {end}");
        let parsed = Args::try_parse_from(line.split_whitespace());
        assert_eq!(parsed.is_ok(), *accepted, "{line}: {parsed:?}");
    }
}

#[test]
fn hosts_and_what_is_not_of_vms() {
    check(
        "host",
        &[
            ("list", true),
            ("maintenance h1 on", true),
            ("maintenance h1 maybe", false),
            ("remove h1 -y", true),
            ("remove h1 h2", false),
            ("move h1 fast", true),
            ("label h1 --add nvme", true),
            ("label h1", false),
        ],
    );
    check(
        "",
        &[
            ("doctor tls", true),
            ("pool list --where hosts>2 --sort -memory-free", true),
            ("pool add fast --site berlin --notes x", true),
            ("pool set fast", false),
            ("pool set fast --rename slow", true),
            ("site add berlin", true),
            ("site remove berlin -y", true),
            ("label list -o csv", true),
            ("doctor tls h1 --expect agent/h1", true),
            ("doctor tls h1 --expect h1", false),
            ("watch -o json", true),
            ("join --token x", false),
            ("task wait x --manager a:1 --credentials /c", true),
            ("task wait a b", true),
            ("task wait", false),
            ("task cancel a --no-wait", true),
            ("task cancel", false),
            ("task retry a b --no-wait", true),
            ("task show a", true),
            ("task log a -o json", true),
        ],
    );
}

#[test]
fn a_new_vm() {
    check("vm create web", &[("--memory 128M", false), ("--kernel /k --memory 128", false)]);
    check(
        "vm create web --kernel /k --memory 1G",
        &[
            ("", true),
            ("--cpu-demand 0.5 --disk-demand 10M", true),
            ("--cpu-demand lots", false),
            ("--dry-run --no-wait", false),
            ("--type pv --disk /a --disk /b:xvdc:ro --nic br0 --nic br1,index=4", true),
            ("--type hvm", false),
            ("--disk a", false),
            ("--nic br0,mac=1", false),
            ("--memory-min 512M --weight 512 --cap 150 --cpus 0-3 --cpus-soft 1", true),
            ("--weight 0", false),
            ("--weight 65536", false),
            ("--cpus 3-1", false),
            ("--on-poweroff restart --on-reboot destroy --on-crash preserve", true),
            ("--on-crash explode", false),
            ("--autostart", true),
            ("--autostart 10:30", true),
            ("--autostart soon", false),
        ],
    );
}

#[test]
fn changes_of_a_vm() {
    check(
        "vm",
        &[
            ("suspend web --timeout 5", true),
            ("resume web", true),
            ("save web /s", true),
            ("save web", false),
            ("restore web --path /s", true),
            ("discard web", true),
            ("rename web shop", true),
            ("set web --no-autostart", true),
            ("set web --autostart 1 --no-autostart", false),
            ("disk attach web /d.img:xvdb", true),
            ("disk attach web d.img", false),
            ("disk detach web xvdb --force -y", true),
            ("disk resize web xvda 20G", true),
            ("disk resize web xvda 20", false),
            ("nic attach web br0,mac=00:16:3e:00:00:01", true),
            ("nic detach web 0", true),
            ("nic detach web eth0", false),
            ("memory web 256M -o json", true),
            ("vcpus web four", false),
            ("wait web --for running", true),
            ("wait web --for lunch", false),
            ("wait web", false),
        ],
    );
}

#[test]
fn several_vms_are_named_or_selected() {
    check(
        "vm",
        &[
            ("memory web db 256M", true),
            ("memory 256M", false),
            ("vcpus web db 2 --no-wait", true),
            ("start", false),
            ("start web db -y --no-wait --wait", true),
            ("start --where status=running --dry-run", true),
            ("start web --where status=running", false),
            ("start --filter status=running -y", true),
            ("destroy --where 'status=crashed' -y", true),
            ("set web db --weight 512", true),
            ("show web db", true),
            ("stats --where status=running", true),
            ("label web --add prod,front --folder /prod", true),
            ("tag web --remove prod", true),
            ("label web", false),
        ],
    );
}

#[test]
fn lists_and_forms() {
    check(
        "vm list",
        &[
            ("--watch", true),
            ("--watch=5 --sort -memory,name -o wide", true),
            ("--watch=0", false),
            ("--watch 5", false),
            ("-o xml", false),
            ("--columns name,memory --no-headers -o csv", true),
            ("--timeout 0", false),
        ],
    );
}
