//! Other people's clients, run as programs: Kafka's own tools from the brokers' jars, and kcat (librdkafka).

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gauntlet_chaos::kafka_home::{Java, KafkaHome};
use gauntlet_chaos::{KafkaSource, LocalCluster, cache_dir};
use libtest_mimic::Failed;

use crate::cluster::LIMIT;

/// One of Kafka's tools, of the version that the cluster runs.
pub(crate) fn kafka_tool(cluster: &LocalCluster, class: &str) -> Result<Command, Failed> {
    let home = KafkaHome::resolve(
        &KafkaSource::Maven(cluster.version().ok_or("no version")?.clone()),
        &cache_dir()?,
    )?;
    let java = Java::find(home.version.java_min())?;
    let mut command = Command::new(java.program);
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]);
    command.arg("-cp").arg(format!("{}/*", home.libs.display())).arg(class);
    Ok(command)
}

/// Where `kcat` is, if it is installed.
pub(crate) fn kcat() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("kcat")).find(|program| program.is_file())
}

/// Runs a program to its end with this input and gives what it printed. Anything but success is an error with all that
/// it said; a program that does not end is killed.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, Failed> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut stdin, mut stdout, mut stderr) =
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => (stdin, stdout, stderr),
            _ => return Err("a child without its pipes".into()),
        };
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        let told = scope.spawn(move || read_all(&mut stdout));
        let complained = scope.spawn(move || read_all(&mut stderr));
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let text = |thread: std::thread::ScopedJoinHandle<'_, String>| thread.join().unwrap_or_default();
        let (told, complained) = (text(told), text(complained));
        if status.is_some_and(|status| status.success()) {
            return Ok(told);
        }
        Err(format!("{command:?}: {status:?}\n{complained}\n{told:.2000}").into())
    })
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
