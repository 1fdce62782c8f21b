//! `larder up` killed again and again while rows are pushed, definitions applied and history materialized: whatever was
//! acknowledged is there after each restart, and runs complete.

use std::{path::Path, process::Command, time::Duration};

use larder_test_kit::{Child, larder_binary};
use larder_types::{Clock, SystemClock};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{history, sandbox::Clients, workload::Acknowledged};

const KILLS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = larder_test_kit::temporary_folder();
    history::write(&folder.path().join("history"), SystemClock.now(), 4, 11);
    let mut random = StdRng::seed_from_u64(20);
    let mut acknowledged = Acknowledged::default();
    for life in 0..KILLS {
        let (mut child, clients) = start(folder.path());
        acknowledged.check(&clients).await;
        let lifetime = Duration::from_millis(random.random_range(50..700));
        acknowledged.work_until(lifetime, || child.kill(), &clients, &SystemClock, life).await;
    }
    let (mut child, clients) = start(folder.path());
    acknowledged.check_completion(&clients).await;
    child.terminate();
    child.wait(Duration::from_secs(20));
}

fn start(folder: &Path) -> (Child, Clients) {
    start_with(folder, &[])
}

/// A process of its own on free ports, with these settings.
pub(crate) fn start_with(folder: &Path, settings: &[&str]) -> (Child, Clients) {
    let mut command = Command::new(larder_binary());
    command.args(["up", "--data"]).arg(folder.join("data"));
    for key in ["registry", "serving", "push_ingest", "materializer"] {
        command.args(["--set", &format!("{key}.server.listen=127.0.0.1:0")]);
    }
    command.args(["--set", "serving.server.admin_listen=127.0.0.1:0"]);
    settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
    command.env("LARDER__MATERIALIZER__ROOTS", folder);
    let mut child = Child::start(command);
    let mut address = |service: &str| {
        let line = child.wait_for_line(&format!("  {service} "), Duration::from_secs(30));
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    let clients = Clients {
        folder: folder.to_owned(),
        registry: address("registry"),
        serving: address("serving"),
        push_ingest: address("push-ingest"),
        materializer: address("materializer"),
    };
    (child, clients)
}
