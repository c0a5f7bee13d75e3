//! `gauntlet cluster up | down | list`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use gauntlet_chaos::{Jvm, KafkaSource, KafkaVersion, LocalSpec, Registry, cache_dir};
use gauntlet_reports::ExitReason;

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Start a cluster and leave it running; prints its bootstrap servers.
    Up(UpArgs),
    /// End a cluster, or all of them.
    Down {
        /// Its name.
        #[arg(required_unless_present = "all")]
        name: Option<String>,
        /// Every cluster that was left running.
        #[arg(long)]
        all: bool,
    },
    /// List the clusters that run.
    List,
}

#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// Its name.
    #[arg(default_value = "default")]
    name: String,
    /// Number of brokers.
    #[arg(long, default_value_t = 3)]
    brokers: u16,
    /// Version of Apache Kafka.
    #[arg(long, default_value = "4.3.0")]
    version: String,
    /// A distribution of Kafka to use instead.
    #[arg(long, value_name = "DIR")]
    kafka_home: Option<PathBuf>,
    /// Fast to start instead of fast to run.
    #[arg(long)]
    quick: bool,
    /// It ends by itself after this time.
    #[arg(long, default_value = "1h")]
    ttl: crate::units::Duration,
}

pub(super) fn run(command: ClusterCommand, out: &mut impl Write) -> std::io::Result<ExitReason> {
    let registry = Registry::new(&cache_dir().map_err(std::io::Error::other)?);
    let done = match command {
        ClusterCommand::Up(args) => up(&registry, args, out)?,
        ClusterCommand::List => registry.list().map(|entries| {
            entries
                .iter()
                .map(|e| format!("{}  Kafka {}  {}", e.name, e.version, e.bootstrap.join(",")))
                .collect()
        }),
        ClusterCommand::Down { all: true, .. } => {
            registry.down_all().map(|names| names.into_iter().map(|n| format!("{n} ended")).collect())
        }
        ClusterCommand::Down { name, .. } => {
            let name = name.unwrap_or_default();
            registry.down(&name).map(|()| vec![format!("{name} ended")])
        }
    };
    match done {
        Ok(lines) => {
            for line in lines {
                writeln!(out, "{line}")?;
            }
            Ok(ExitReason::Pass)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}")?;
            Ok(ExitReason::Environment)
        }
    }
}

type Done = Result<Vec<String>, gauntlet_chaos::ChaosError>;

fn up(registry: &Registry, args: UpArgs, out: &mut impl Write) -> std::io::Result<Done> {
    let kafka = match args.kafka_home {
        Some(home) => KafkaSource::Directory(home),
        None => match args.version.parse::<KafkaVersion>() {
            Ok(version) => KafkaSource::Maven(version),
            Err(error) => return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)),
        },
    };
    let jvm = if args.quick { Jvm::Quick } else { Jvm::Steady };
    let spec = LocalSpec { brokers: args.brokers, kafka, jvm, ..LocalSpec::default() };
    writeln!(out, "starting {} brokers …", args.brokers)?;
    let ttl = Duration::from_nanos(args.ttl.as_ns());
    Ok(registry.up(&args.name, &spec, &super::launcher(), ttl).map(|entry| {
        vec![
            format!("{}  Kafka {}  {}", entry.name, entry.version, entry.bootstrap.join(",")),
            format!("logs in {}; ends by itself after {}", entry.logs.display(), args.ttl),
        ]
    }))
}
