//! The power cut again and again while rows are pushed, definitions applied and history materialized, on disks that keep
//! only what was synced: whatever was acknowledged is there when the power is back, and runs complete. A process that is
//! killed leaves what it wrote to the operating system; here that is lost.

use std::{path::Path, sync::Arc, time::Duration};

use larder_definitions::run::LEASE_TERM;
use larder_service::Shutdown;
use larder_standalone::{Config, Deps};
use larder_types::{Clock, SystemClock};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::runtime::Runtime;

use crate::{
    history,
    power::Machine,
    sandbox::{Clients, LateClock, config},
    workload::Acknowledged,
};

const CUTS: u64 = 20;

#[test]
fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    let folder = larder_test_kit::temporary_folder();
    history::write(&folder.path().join("history"), SystemClock.now(), 4, 12);
    let config = config(folder.path());
    std::fs::create_dir_all(larder_standalone::stores::spill_folder(&config.data)).unwrap();
    let mut random = StdRng::seed_from_u64(21);
    let (mut machine, clock) = (Machine::new(), LateClock::default());
    let mut acknowledged = Acknowledged::default();
    for life in 0..CUTS {
        let runtime = runtime();
        let lifetime = Duration::from_millis(random.random_range(20..400));
        runtime.block_on(async {
            let clients = start(&machine, &config, &clock, folder.path()).await;
            acknowledged.check(&clients).await;
            let power = machine.power();
            acknowledged.work_until(lifetime, || power.cut(), &clients, &clock, life).await;
        });
        // Everything of the old life ends where it is; what it still does reaches no disk.
        drop(runtime);
        machine.restart(&mut random);
    }
    let runtime = runtime();
    runtime.block_on(async {
        let clients = start(&machine, &config, &clock, folder.path()).await;
        acknowledged.check_completion(&clients).await;
    });
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn start(machine: &Machine, config: &Config, clock: &LateClock, folder: &Path) -> Clients {
    let deps = Deps { clock: Arc::new(clock.clone()), shutdown: Shutdown::new() };
    let app = larder_standalone::build_on(config, deps, machine.stores(), None).await.unwrap();
    let clients = Clients::at(app.addresses(), folder);
    tokio::spawn(app.run());
    // A registry that starts anew gives runs that may be worked on to nobody for so long.
    clock.advance(LEASE_TERM);
    clients
}
