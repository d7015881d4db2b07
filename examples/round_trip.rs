//! Makes 11,000 pairs on tokio-uring, sends bytes both ways through each, closes it with a reset, and shows what is
//! left.
//!
//! `cargo run --release --example round_trip`

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Instant;

use ringpair::{PairOptions, Step, make_socket_pair};
use tokio_uring::net::TcpStream;

const WITH_FACTORY: u32 = 10_000;
const ONE_SHOTS: u32 = 1_000;

fn run() -> Result<(), Box<dyn Error>> {
    // Options, all at their defaults: a listener and a ring on 127.0.0.1 are kept for all pairs, and closing resets.
    let factory = PairOptions::new().factory()?;
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())
        .map_err(|error| format!("the tokio-uring runtime could not be set up: {error}"))?;
    runtime.block_on(async {
        drop(make_socket_pair().await?); // the first one-shot of a thread sets up a ring, which the thread keeps
        let before = Host::now()?;

        let begin = Instant::now();
        for number in 0..WITH_FACTORY {
            let (accepted, connected) = factory.pair().await?;
            exchange(&accepted, &connected, number).await?;
        } // here both ends go out of scope: reset, and nothing in TIME_WAIT
        let factory_rate = f64::from(WITH_FACTORY) / begin.elapsed().as_secs_f64();

        let begin = Instant::now();
        for number in 0..ONE_SHOTS {
            let (accepted, connected) = make_socket_pair().await?;
            exchange(&accepted, &connected, number).await?;
        }
        let one_shot_rate = f64::from(ONE_SHOTS) / begin.elapsed().as_secs_f64();

        let after = Host::now()?;
        let made = factory.stats();
        let mut out = io::stdout().lock();
        writeln!(out, "                             factory  one-shot")?;
        writeln!(out, "pairs, bytes sent both ways  {WITH_FACTORY:>7}  {ONE_SHOTS:>8}")?;
        writeln!(out, "a second, closing included   {factory_rate:>7.0}  {one_shot_rate:>8.0}")?;
        writeln!(out, "made inline                  {:>7}", made.inline)?;
        writeln!(out, "parked                       {:>7}", made.parked)?;
        writeln!(out, "strangers turned away        {:>7}", made.strangers)?;
        writeln!(out, "listeners opened             {:>7}  {ONE_SHOTS:>8}", made.listeners)?;
        writeln!(out)?;
        writeln!(out, "                              before     after")?;
        writeln!(out, "sockets in TIME_WAIT         {:>7}  {:>8}", before.time_wait, after.time_wait)?;
        writeln!(out, "descriptors of this process  {:>7}  {:>8}", before.descriptors, after.descriptors)?;
        Ok(out.flush()?)
    })
}

/// Sends a number there and back, and checks that it arrives.
async fn exchange(accepted: &TcpStream, connected: &TcpStream, number: u32) -> io::Result<()> {
    for (from, to) in [(connected, accepted), (accepted, connected)] {
        let bytes = number.to_be_bytes();
        from.write_all(bytes.to_vec()).await.0?;
        let (read, arrived) = to.read(vec![0; bytes.len()]).await;
        if arrived[..read?] != bytes {
            return Err(io::Error::other(format!("sent {bytes:?}, but {arrived:?} arrived")));
        }
    }
    Ok(())
}

/// What pairs could leave behind.
struct Host {
    time_wait: String,
    descriptors: usize,
}

impl Host {
    fn now() -> io::Result<Host> {
        let sockstat = fs::read_to_string("/proc/net/sockstat")?;
        let time_wait = sockstat.split_whitespace().skip_while(|word| *word != "tw").nth(1).unwrap_or("?").to_string();
        Ok(Host { time_wait, descriptors: fs::read_dir("/proc/self/fd")?.count() })
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS; // the reader has closed the pipe
    }
    eprint!("round_trip: {error}");
    if let Some(cause) = error.source() {
        eprint!(": {cause}");
    }
    eprintln!();
    if error.downcast_ref::<ringpair::Error>().is_some_and(|error| error.step() == Step::Ring) {
        eprintln!(
            "Is io_uring there, and allowed? It needs Linux 5.5; kernel.io_uring_disabled, the seccomp profile of a"
        );
        eprintln!("container (Docker's and Podman's are such) or an LSM can bar it.");
    }
    ExitCode::FAILURE
}
