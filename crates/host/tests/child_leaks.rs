//! After many children nothing is left, whichever way they ended. Alone in its process, because it
//! counts what the process has open.
#![cfg(target_os = "linux")]

mod support;

use millstream_host::child::{ChildSpec, Supervisor};
use support::{Place, footprint, start, wait_for};

#[test]
fn child_program() {
    support::play_role();
}

#[test]
fn two_hundred_children_leave_no_process_thread_descriptor_or_file() {
    let place = Place::new();
    let supervisor = Supervisor::start().unwrap();
    // Whatever is made once is made now: log files, the libraries' own descriptors.
    for role in ["exit 0", "flood 3"] {
        place.run(&supervisor, role);
    }
    let files = place.files();
    wait_for("the test that is no test to end", || footprint().threads <= 4);
    wait_for("the first monitors to end", || {
        let before = footprint();
        std::thread::sleep(std::time::Duration::from_millis(50));
        before == footprint()
    });
    let before = footprint();

    // More of them: HOST_TEST_CYCLES=5000.
    let cycles = std::env::var("HOST_TEST_CYCLES").ok().and_then(|text| text.parse().ok());
    for number in 0..cycles.unwrap_or(200) {
        match number % 5 {
            0 => assert!(place.run(&supervisor, "exit 0").is_success()),
            1 => drop(place.run(&supervisor, "segfault")),
            2 => {
                let (child, exit) = place.spawn(&supervisor, "sleep");
                child.kill_group();
                exit.wait();
            }
            3 => {
                let (child, exit) = place.spawn(&supervisor, "watch");
                drop(child);
                exit.wait();
            }
            _ => {
                let spec = ChildSpec { executable: place.file("missing"), ..place.spec("") };
                assert!(start(&supervisor, spec).is_err());
            }
        }
    }

    assert_eq!(supervisor.children(), 0);
    wait_for("the last monitors to end", || footprint() == before);
    assert_eq!(place.files(), files);
    drop(supervisor);
    wait_for("the spawner to end", || footprint().threads == before.threads - 1);
}
