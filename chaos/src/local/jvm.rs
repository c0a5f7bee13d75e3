//! The command line of a node's JVM, and the logging configuration it reads.

use std::collections::BTreeMap;
use std::path::Path;

use super::spec::{Jvm, LocalSpec};
use crate::kafka_home::{Java, KafkaHome, Logging};
use crate::supervisor::NodeCommand;

/// Paths of one node.
#[derive(Debug)]
pub(super) struct NodePaths<'a> {
    pub(super) properties: &'a Path,
    pub(super) logging_config: &'a Path,
    pub(super) work_dir: &'a Path,
    /// Where libraries unpack their native code; must exist.
    pub(super) temp_dir: &'a Path,
    pub(super) log: &'a Path,
    pub(super) gc_log: &'a Path,
}

/// The command that runs a node in the foreground.
pub(super) fn node_command(
    java: &Java,
    home: &KafkaHome,
    spec: &LocalSpec,
    paths: &NodePaths<'_>,
) -> NodeCommand {
    let mut args = heap_and_collector(spec.jvm, spec.heap_bytes());
    args.extend(common_flags(paths));
    args.push(logging_flag(home.logging, paths.logging_config));
    args.extend([
        "-cp".to_owned(),
        home.class_path(),
        "kafka.Kafka".to_owned(),
        paths.properties.display().to_string(),
    ]);
    NodeCommand {
        program: java.program.clone(),
        args,
        env: BTreeMap::new(),
        work_dir: paths.work_dir.to_path_buf(),
        output: paths.log.to_path_buf(),
        namespace: None,
    }
}

/// `steady` is what Kafka's own `kafka-run-class.sh` passes, with the heap that its `kafka-server-start.sh` sets if nobody set
/// another, but for a young generation of 11/16 of it instead of `MaxGCPauseMillis=20`. To keep to that, G1 shrank it to 40
/// MB, and at 1M msg/s on two cores three brokers stopped for 20-90 ms every second each; with it, every few seconds. And
/// for regions of 8 MB: of a heap of 1 GB G1 makes regions of 1 MB, every request or answer above half of that is a
/// *humongous* allocation, and each of those may begin a marking of the whole heap. At this load that was every second
/// collection (`Concurrent Start`), every 2-4 s.
/// What survives a collection is nearly all samples of Kafka's own metrics (skip lists of some 1,000 nodes per histogram), which
/// live for minutes. By default G1 copies them up to fifteen times before it takes them for old. Taken for old at once
/// (`MaxTenuringThreshold=0`) the same collections stop a broker for a median of 23 instead of 64 ms while it is cold, and for
/// 10-15 instead of 30-50 ms once it is warm; the old generation grows by some 4 MB per collection.
/// `quick` was measured: three brokers on two cores are up in 4-5 s instead of 13-14 s.
pub(super) fn heap_and_collector(jvm: Jvm, heap_bytes: u64) -> Vec<String> {
    let heap_mib = heap_bytes >> 20;
    let (young_mib, collector): (_, &[&str]) = match jvm {
        Jvm::Steady => (
            Some(heap_mib * 11 / 16),
            &[
                "-XX:+UseG1GC",
                "-XX:G1HeapRegionSize=8m",
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:MaxTenuringThreshold=0",
                "-XX:+ExplicitGCInvokesConcurrent",
            ],
        ),
        Jvm::Quick => (None, &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]),
    };
    let mut flags = vec![format!("-Xms{heap_mib}m"), format!("-Xmx{heap_mib}m")];
    flags.extend(young_mib.map(|mib| format!("-Xmn{mib}m")));
    flags.extend(collector.iter().map(|flag| (*flag).to_owned()));
    flags
}

/// The GC log carries `timenanos`, which on Linux is CLOCK_MONOTONIC, the clock of the run: a broker's pause can be laid
/// beside the latency it caused without converting clocks. `PerfDisableSharedMem` keeps the JVM from writing statistics to
/// a mapped file, where a slow disk can stall a safepoint. A JVM that is killed deletes nothing: what it unpacks goes to a
/// directory of its own, which is removed with its data.
fn common_flags(paths: &NodePaths<'_>) -> [String; 5] {
    [
        format!(
            "-Xlog:gc*,safepoint:file=\"{}\":time,timenanos,level,tags:filecount=4,filesize=32m",
            paths.gc_log.display()
        ),
        format!("-XX:ErrorFile={}", paths.log.with_extension("hs_err").display()),
        "-XX:+PerfDisableSharedMem".to_owned(),
        "-Djava.awt.headless=true".to_owned(),
        format!("-Djava.io.tmpdir={}", paths.temp_dir.display()),
    ]
}

fn logging_flag(logging: Logging, config: &Path) -> String {
    match logging {
        Logging::Log4j2 => format!("-Dlog4j2.configurationFile={}", config.display()),
        Logging::Reload4j => format!("-Dlog4j.configuration=file:{}", config.display()),
    }
}

/// Name and content of the logging configuration: everything from INFO up to stdout, which is the node's log file.
/// Two loggers that print a line per request or per cleaned segment are held at WARN.
pub(super) fn logging_config(logging: Logging) -> LoggingConfig {
    match logging {
        Logging::Log4j2 => LoggingConfig {
            file_name: "log4j2.xml",
            content: r#"<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN" shutdownHook="disable">
  <Appenders>
    <Console name="stdout" target="SYSTEM_OUT">
      <PatternLayout pattern="[%d{ISO8601}] %p %m (%c)%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="kafka.request.logger" level="WARN"/>
    <Logger name="kafka.log.LogCleaner" level="WARN"/>
    <Root level="INFO"><AppenderRef ref="stdout"/></Root>
  </Loggers>
</Configuration>
"#,
        },
        Logging::Reload4j => LoggingConfig {
            file_name: "log4j.properties",
            content: "log4j.rootLogger=INFO, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
log4j.logger.kafka.request.logger=WARN
log4j.logger.kafka.log.LogCleaner=WARN
",
        },
    }
}

/// A logging configuration file.
#[derive(Debug)]
pub(super) struct LoggingConfig {
    pub(super) file_name: &'static str,
    pub(super) content: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka_home::KafkaVersion;

    #[test]
    fn the_young_generation_grows_with_the_heap() {
        let young = |mib: u64| heap_and_collector(Jvm::Steady, mib << 20)[..3].join(" ");
        assert_eq!(young(1024), "-Xms1024m -Xmx1024m -Xmn704m");
        assert_eq!(young(2048), "-Xms2048m -Xmx2048m -Xmn1408m");
    }

    #[test]
    fn the_command_line_of_a_quick_broker() {
        let home = KafkaHome {
            libs: "/cache/libs".into(),
            version: KafkaVersion::DEFAULT,
            logging: Logging::Log4j2,
            format_cache: None,
        };
        let java = Java { program: "/jdk/bin/java".into(), feature_version: 17 };
        let paths = NodePaths {
            properties: Path::new("/data/node-1/server.properties"),
            logging_config: Path::new("/data/log4j2.xml"),
            work_dir: Path::new("/data/node-1"),
            temp_dir: Path::new("/data/node-1/tmp"),
            log: Path::new("/logs/broker-1.log"),
            gc_log: Path::new("/logs/broker-1-gc.log"),
        };
        let spec = LocalSpec { jvm: Jvm::Quick, ..LocalSpec::default() };
        let command = node_command(&java, &home, &spec, &paths);
        assert_eq!(command.program, Path::new("/jdk/bin/java"));

        let expected = [
            "-Xms512m",
            "-Xmx512m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xlog:gc*,safepoint:file=\"/logs/broker-1-gc.log\":time,timenanos,level,tags:filecount=4,filesize=32m",
            "-XX:ErrorFile=/logs/broker-1.hs_err",
            "-XX:+PerfDisableSharedMem",
            "-Djava.awt.headless=true",
            "-Djava.io.tmpdir=/data/node-1/tmp",
            "-Dlog4j2.configurationFile=/data/log4j2.xml",
            "-cp",
            "/cache/libs/*",
            "kafka.Kafka",
            "/data/node-1/server.properties",
        ];
        assert_eq!(command.args, expected);
    }
}
