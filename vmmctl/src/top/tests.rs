//! Top on a screen that is only memory.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use vmm_proto::v1::{Host, HostFacts, HostHealth, HostLoad, Spec, Vm, VmPhase, VmRates, VmTotals};

use super::draw::draw;
use super::keys::{KEYS, press};
use super::sample::Sample;
use super::state::State;

fn vm(name: &str, phase: VmPhase, host: &str) -> Vm {
    Vm {
        vm: format!("id of {name}"),
        phase,
        reason: String::new(),
        host: (!host.is_empty()).then(|| host.to_owned()),
        stale: false,
        vcpus_online: 2,
        memory_now_kib: 512 << 10,
        saved_path: None,
        saved_host: None,
        pool: None,
        site: None,
        folder: None,
        notes: String::new(),
        rates: None,
        tags: Vec::new(),
        misplaced: None,
        pins: Vec::new(),
        groups: Vec::new(),
        drift: None,
        spec: Spec { name: name.to_owned(), ..Spec::default() },
    }
}

fn using(cpu: u64, network: u64, vm: Vm) -> Vm {
    let rates = VmRates {
        age_ms: 0,
        cpu_milli: Some(cpu),
        disk_bytes_per_s: Some(0),
        disk_requests_per_s: Some(0),
        network_bytes_per_s: Some(network),
    };
    Vm { rates: Some(rates), ..vm }
}

fn host(name: &str, cpu_milli: u64) -> Host {
    Host {
        host: format!("id of {name}"),
        name: name.to_owned(),
        address: String::new(),
        health: HostHealth::Up,
        heard_ms_ago: None,
        maintenance: false,
        vm_count: 1,
        memory_reserved_kib: 3072 << 10,
        cpu_reserved_milli: 0,
        disk_reserved_bytes_per_s: 0,
        facts: Some(HostFacts { pcpus: 4, memory_kib: 4096 << 10, ..HostFacts::default() }),
        pool: "default".into(),
        site: "default".into(),
        notes: String::new(),
        tags: Vec::new(),
        load: Some(HostLoad { cpu_milli, disk_bytes_per_s: 1 << 20, ..HostLoad::default() }),
    }
}

fn sample() -> Sample {
    let vms = vec![
        using(500, 3 << 20, vm("db", VmPhase::Running, "h1")),
        vm("off\x1b[2J", VmPhase::PoweredOff, ""),
        using(1900, 1 << 20, vm("web", VmPhase::Running, "h2")),
    ];
    let all = VmTotals { vm_count: 3, running_count: 2, ..VmTotals::default() };
    Sample {
        hosts: vec![host("h1", 3800), host("h2", 100)],
        vms,
        wanted: all,
        all,
        network: vec![("h1".into(), 3 << 20)],
    }
}

fn state() -> State {
    let mut state = State::new(false);
    state.take(sample());
    state
}

fn screen(state: &mut State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, state)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

fn type_keys(state: &mut State, keys: &[KeyCode]) -> bool {
    let mut pressed =
        keys.iter().map(|code| press(state, KeyEvent::new(*code, KeyModifiers::NONE)));
    pressed.any(|flow| flow.is_break())
}

const WHOLE: &str = "\
2 of 2 hosts up   2 of 3 VMs run   CPU 3.90 of 8   memory 6144 of 8192 MiB reserved
┌ hosts (2) ─────────────────────────────────────────────────────────────────────────┐
│NAME▲  HEALTH    VMS   CPU   CPU %    MEMORY   MEM %       DISK    NETWORK          │
│h1     up          1  3.80  95.0 %  3072 MiB  75.0 %  1.0 MiB/s  3.0 MiB/s          │
│h2     up          1  0.10   2.5 %  3072 MiB  75.0 %  1.0 MiB/s          -          │
└────────────────────────────────────────────────────────────────────────────────────┘
┌ VMs (3) ───────────────────────────────────────────────────────────────────────────┐
│NAME▲       STATUS       HOST    VCPUS   CPU   CPU %   MEMORY       DISK    NETWORK │
│db          running      h1          2  0.50  25.0 %  512 MiB  0.0 MiB/s  3.0 MiB/s │
│off\\x1b[2J  powered off  -           2     -       -  512 MiB          -          - │
│web         running      h2          2  1.90  95.0 %  512 MiB  0.0 MiB/s  1.0 MiB/s │
└────────────────────────────────────────────────────────────────────────────────────┘
Tab table  c m d n a sort  r reverse  / filter  Enter host  Space stop  ? keys  q end
";

#[test]
fn hosts_and_vms_stand_under_each_other() {
    assert_eq!(screen(&mut state(), 86, 13), WHOLE);
}

#[test]
fn where_room_is_short_texts_are_cut_and_then_the_last_columns_left_out() {
    for (width, row) in [
        (76, "│off\\x1b[2J powered o… -          2    -      - 512 MiB         -         -│"),
        (60, "│off\\x1b… powered… -          2    -      - 512 MiB        │"),
    ] {
        let seen = screen(&mut state(), width, 13);
        assert!(seen.contains(row), "{row} at {width} in\n{seen}");
    }
}

#[test]
fn a_small_or_empty_screen_is_no_defect() {
    for (width, height) in [(1, 1), (10, 3), (30, 8), (200, 60)] {
        screen(&mut state(), width, height);
        screen(&mut State::new(true), width, height);
    }
}

#[test]
fn keys_ask_for_another_order() {
    let right = KeyCode::Char('>');
    for (keys, vm_sort, host_sort) in [
        (&[][..], "name", "name"),
        (&[KeyCode::Char('c')], "-cpu-used,name", "name"),
        (&[KeyCode::Char('n')], "-network,name", "name"),
        (&[KeyCode::Char('m'), KeyCode::Char('r')], "memory,name", "name"),
        (&[right], "status,name", "name"),
        (&[KeyCode::Char('<')], "-network,name", "name"),
        (&[KeyCode::Tab, KeyCode::Char('m')], "name", "-memory-reserved,name"),
        (&[KeyCode::Tab, KeyCode::Char('n')], "name", "name"),
        (&[KeyCode::Tab, KeyCode::Char('<')], "name", "-disk,name"),
    ] {
        let mut state = state();
        assert!(!type_keys(&mut state, keys));
        let plan = state.plan();
        assert_eq!(
            (plan.vm_sort.as_str(), plan.host_sort.as_str()),
            (vm_sort, host_sort),
            "{keys:?}"
        );
    }
}

fn typed(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

#[test]
fn a_filter_counts_as_soon_as_it_is_right_and_says_what_is_wrong_until_then() {
    let mut state = state();
    type_keys(&mut state, &typed("/web"));
    assert!(state.take_outdated() && !state.take_outdated());
    assert_eq!(state.plan().vm_query, "web");
    type_keys(&mut state, &typed(" and status=ru"));
    let seen = screen(&mut state, 160, 13);
    assert!(seen.contains("filter: web and status=ru_   at byte"), "{seen}");
    assert_eq!(state.plan().vm_query, "web and status", "the last that was right");
    type_keys(&mut state, &typed("nning"));
    type_keys(&mut state, &[KeyCode::Enter]);
    assert_eq!(state.plan().vm_query, "web and status=running");
    assert!(screen(&mut state, 90, 13).contains("VMs with web and status=running (3)"));
    type_keys(&mut state, &[KeyCode::Esc]);
    assert_eq!(state.plan().vm_query, "");
}

#[test]
fn enter_on_a_host_asks_for_its_vms_only_and_for_all_again() {
    let mut state = state();
    type_keys(&mut state, &[KeyCode::Tab, KeyCode::Down, KeyCode::Enter]);
    assert_eq!(state.plan().vm_query, "host=\"h2\"");
    assert!(screen(&mut state, 90, 13).contains("VMs on h2 (3)"));
    type_keys(&mut state, &typed("/web or db"));
    assert_eq!(state.plan().vm_query, "host=\"h2\" and (web or db)");
    type_keys(&mut state, &[KeyCode::Enter, KeyCode::Enter]);
    assert_eq!(state.plan().vm_query, "web or db");
}

#[test]
fn the_selection_stays_on_its_vm_when_the_order_changes() {
    let mut state = state();
    screen(&mut state, 90, 13);
    type_keys(&mut state, &[KeyCode::End]);
    let mut other = sample();
    other.vms.reverse();
    state.take(other);
    assert_eq!(state.vms[state.vm_pane.selected].spec.name, "web");
}

#[test]
fn a_long_list_scrolls_with_the_selection() {
    let mut state = State::new(false);
    let vms = (0..500).map(|n| vm(&format!("vm{n:04}"), VmPhase::Running, "h1")).collect();
    let wanted = VmTotals { vm_count: 10_000, ..VmTotals::default() };
    state.take(Sample { vms, wanted, ..Sample::default() });
    screen(&mut state, 90, 20);
    type_keys(&mut state, &[KeyCode::PageDown, KeyCode::PageDown, KeyCode::Down]);
    let seen = screen(&mut state, 90, 20);
    assert!(seen.contains("vm0023") && !seen.contains("vm0000"), "{seen}");
    assert!(seen.contains("VMs (the first 500 of 10000)"), "{seen}");
    type_keys(&mut state, &[KeyCode::End]);
    assert!(screen(&mut state, 90, 20).contains("vm0499"));
    type_keys(&mut state, &[KeyCode::Home]);
    assert!(screen(&mut state, 90, 20).contains("vm0000"));
}

#[test]
fn only_hosts_on_the_screen_are_summed_up() {
    let mut state = State::new(false);
    let hosts = (0..100).map(|n| host(&format!("h{n:02}"), 0)).collect();
    state.take(Sample { hosts, ..Sample::default() });
    screen(&mut state, 90, 40);
    assert_eq!(state.plan().on_screen.len(), state.host_pane.height);
    state.take(Sample::default());
    assert!(state.plan().on_screen.is_empty(), "what is gone is not asked for");
}

#[test]
fn a_manager_that_is_away_leaves_what_was_seen() {
    let mut state = state();
    state.note("no\x1b[2J connection".into());
    let seen = screen(&mut state, 90, 13);
    assert!(seen.contains("out of date: no\\x1b[2J connection") && seen.contains("web"), "{seen}");
}

#[test]
fn help_knows_every_key_and_any_key_closes_it() {
    let mut state = state();
    type_keys(&mut state, &[KeyCode::Char('?')]);
    let seen = screen(&mut state, 110, 24);
    for (_, does) in KEYS {
        assert!(seen.contains(does), "{does} in {seen}");
    }
    type_keys(&mut state, &[KeyCode::Char('q')]);
    assert!(!state.shows_help);
}

#[test]
fn q_and_ctrl_c_end_it_and_space_stops_it() {
    assert!(type_keys(&mut state(), &[KeyCode::Char('q')]));
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    let mut typing = state();
    type_keys(&mut typing, &[KeyCode::Char('/')]);
    assert!(press(&mut typing, ctrl_c).is_break(), "also while a filter is typed");
    let mut state = state();
    type_keys(&mut state, &[KeyCode::Char(' ')]);
    assert!(state.is_paused() && screen(&mut state, 120, 13).contains("STOPPED"));
}
