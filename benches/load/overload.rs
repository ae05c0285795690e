//! Clients beyond the limits: how many are refused, and what those feel who are served.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use tokio::time;

use super::{
    KIB, POOL,
    client::{Client, Spans, percentiles, watching_health},
    row,
    server::Program,
};

const SIZE: usize = 64 * KIB;
/// How long a client takes for the second half of its file: places are held, not CPUs.
const THINKING: Duration = Duration::from_millis(100);

/// What one client met with.
#[derive(Debug, Default)]
struct Met {
    served: Spans,
    refused: Spans,
    /// Neither: the connection broke off.
    broken: usize,
}

pub async fn measure(folder: &Path, quick: bool) {
    let span = Duration::from_secs(if quick { 4 } else { 15 });
    for (option, limit) in [("--max-connections", 100), ("--max-uploads", 50)] {
        for times in [1, 2, 10] {
            let value = format!("{option}={limit}");
            let server = Program::start(folder, &[&value, "--queue-wait=200ms"]);
            let (health, met) = watching_health(server.address, async {
                clients(server.address, limit * times * 9 / 10, span).await
            })
            .await;
            let files = std::fs::read_dir(server.data().join("files")).unwrap().count();
            assert_eq!(files, met.served.len(), "an answer without its file, or the other way");
            let rate = met.served.len() as f64 / span.as_secs_f64();
            let load = format!("{value}, {} clients", limit * times * 9 / 10);
            let story = format!(
                "{rate:.0}/s served, {} refused, {} broken off",
                met.refused.len(),
                met.broken
            );
            row(load, story);
            row("served within", percentiles(&met.served));
            row("refused within", percentiles(&met.refused));
            row("health", percentiles(&health));
        }
    }
}

async fn clients(address: SocketAddr, count: usize, span: Duration) -> Met {
    let until = Instant::now() + span;
    let hands: Vec<_> =
        (0..count).map(|number| tokio::spawn(client(address, number, until))).collect();
    let mut all = Met::default();
    for hand in hands {
        let met = hand.await.unwrap();
        all.served.extend(met.served);
        all.refused.extend(met.refused);
        all.broken += met.broken;
    }
    all
}

/// Sends one file after another, each on a connection of its own; comes back a while after a
/// refusal, sooner than it was asked to.
async fn client(address: SocketAddr, number: usize, until: Instant) -> Met {
    let mut met = Met::default();
    while Instant::now() < until {
        let since = Instant::now();
        let answer = async {
            let mut client = Client::try_open(address).await?;
            client.try_upload_slowly(&POOL[..SIZE], THINKING).await
        };
        match answer.await {
            Ok(answer) if answer.status == 201 => met.served.push(since.elapsed()),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                met.refused.push(since.elapsed());
                time::sleep(Duration::from_millis(after * 200 + number as u64 % 100)).await;
            }
            Err(_) => met.broken += 1,
        }
    }
    met
}
