//! What this host needs for a local cluster and honest numbers, as a list of checks. Whoever calls prints it.
//!
//! A `fail` means that a run would not start or would break; a `warn` that its numbers would mean less.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use crate::docker;
use crate::kafka_home::{Java, KafkaHome, KafkaSource, is_maven_installed};
use crate::local::{LocalSpec, broker_range};
use crate::netns;

const GIB: u64 = 1024 * 1024 * 1024;

/// One finding about the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, e.g. `java`.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What to do about it; `None` if it is fine.
    pub next_step: Option<String>,
}

/// How a check ended, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Fine.
    Ok,
    /// Works, but numbers would mean less.
    Warn,
    /// A run would not start, or break.
    Fail,
}

impl Check {
    fn ok(name: &'static str, detail: String) -> Self {
        Self { name, status: Status::Ok, detail, next_step: None }
    }

    fn warn(name: &'static str, detail: String, next_step: &str) -> Self {
        Self { name, status: Status::Warn, detail, next_step: Some(next_step.to_owned()) }
    }

    fn fail(name: &'static str, detail: String, next_step: &str) -> Self {
        Self { name, status: Status::Fail, detail, next_step: Some(next_step.to_owned()) }
    }
}

/// Looks at everything that a run of `spec` needs, with its jars in `cache` and its data under `run_dir` (which need not
/// exist yet). Runs `java -version`; starts nothing else and changes nothing.
#[must_use]
pub fn examine(spec: &LocalSpec, cache: &Path, run_dir: &Path) -> Vec<Check> {
    vec![
        java(spec),
        jars(&spec.kafka, cache),
        open_files(),
        disk(run_dir),
        ports(spec),
        clock_source(),
        cores(std::thread::available_parallelism().map_or(1, usize::from), spec.node_count()),
        memory(spec),
        namespaces(netns::why_not()),
        containers(docker::engine()),
    ]
}

fn java(spec: &LocalSpec) -> Check {
    let java_min = match &spec.kafka {
        KafkaSource::Maven(version) => version.java_min(),
        KafkaSource::Image(_) => return Check::ok("java", "in the image".to_owned()),
        KafkaSource::Directory(dir) => match KafkaHome::resolve(&spec.kafka, dir) {
            Ok(home) => home.version.java_min(),
            // The next check says what is wrong with it.
            Err(_) => 11,
        },
    };
    match Java::find(java_min) {
        Ok(java) => Check::ok("java", format!("{} is Java {}", java.program.display(), java.feature_version)),
        Err(error) => Check::fail("java", error.to_string(), "install a newer JRE or set JAVA_HOME"),
    }
}

fn jars(source: &KafkaSource, cache: &Path) -> Check {
    let version = match source {
        KafkaSource::Maven(version) => version,
        KafkaSource::Image(image) => return Check::ok("kafka", format!("in image {image}")),
        KafkaSource::Directory(dir) => {
            return match KafkaHome::resolve(source, cache) {
                Ok(home) => Check::ok("kafka", format!("{} is Kafka {}", dir.display(), home.version)),
                Err(error) => {
                    Check::fail("kafka", error.to_string(), "name a distribution with --kafka-home")
                }
            };
        }
    };
    if KafkaHome::is_cached(version, cache) {
        Check::ok("kafka", format!("the jars of {version} are in {}", cache.display()))
    } else if is_maven_installed() {
        Check::ok(
            "kafka",
            format!("the jars of {version} will be fetched by mvn on first use (about 100 MB)"),
        )
    } else {
        let detail = format!("no jars of {version} in {}, and no mvn to fetch them", cache.display());
        Check::fail("kafka", detail, "install Maven, or name a distribution with --kafka-home")
    }
}

/// A broker holds two descriptors per log segment and one per connection. The JVM raises its own soft limit to the hard
/// one, so for brokers the hard limit counts.
fn open_files() -> Check {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => judge_open_files(soft, hard),
        Err(errno) => Check::warn("open files", errno.desc().to_owned(), "check ulimit -n"),
    }
}

fn judge_open_files(soft: u64, hard: u64) -> Check {
    let detail = format!("soft limit {soft}, hard limit {hard}");
    match hard {
        ..1024 => Check::fail("open files", detail, "raise the hard limit: ulimit -Hn 100000"),
        1024..10_000 => Check::warn("open files", detail, "raise the hard limit: ulimit -Hn 100000"),
        10_000.. => Check::ok("open files", detail),
    }
}

fn disk(run_dir: &Path) -> Check {
    // The directory is made by the run; until then its nearest existing parent is on the same file system.
    let absolute = std::path::absolute(run_dir).unwrap_or_else(|_| PathBuf::from("/"));
    let existing = absolute.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    match statvfs(existing) {
        Ok(stat) => judge_disk(existing, stat.blocks_available() * stat.fragment_size()),
        Err(errno) => Check::warn("disk", format!("{}: {}", existing.display(), errno.desc()), "check df"),
    }
}

/// At 1M msg/s, 100 bytes, replicated three times and compressed to a third, a minute of load is 6 GB.
fn judge_disk(dir: &Path, free_bytes: u64) -> Check {
    let detail = format!("{:.1} GiB free at {}", free_bytes as f64 / GIB as f64, dir.display());
    let next_step = "free some space, or choose another directory with --out";
    match free_bytes / GIB {
        0 => Check::fail("disk", detail, next_step),
        1..20 => Check::warn("disk", detail, next_step),
        20.. => Check::ok("disk", detail),
    }
}

fn ports(spec: &LocalSpec) -> Check {
    match broker_range() {
        Ok(range) => {
            let detail =
                format!("brokers may use {}-{}, {} nodes", range.start, range.end - 1, spec.node_count());
            Check::ok("ports", detail)
        }
        Err(error) => Check::fail("ports", error.to_string(), "narrow net.ipv4.ip_local_port_range"),
    }
}

fn clock_source() -> Check {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    match fs::read_to_string(path) {
        Ok(text) => judge_clock_source(text.trim()),
        Err(error) => Check::warn("clock", format!("{path}: {error}"), "check that /sys is mounted"),
    }
}

/// These are read in user space in tens of nanoseconds; any other needs a system call of a microsecond or more for each
/// time stamp.
fn judge_clock_source(name: &str) -> Check {
    let detail = format!("clock source {name}");
    match name {
        "tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page" => {
            Check::ok("clock", detail)
        }
        _ => Check::warn(
            "clock",
            detail,
            "reading the time is slow here; boot with clocksource=tsc if the CPU's is stable",
        ),
    }
}

fn cores(available: usize, nodes: usize) -> Check {
    let detail = format!("{available} for {nodes} brokers and the load");
    match available {
        0..2 => Check::warn(
            "cores",
            detail,
            "use 2 or more: latencies measured here are mostly waiting for a core",
        ),
        _ => Check::ok("cores", detail),
    }
}

fn memory(spec: &LocalSpec) -> Check {
    match available_memory_bytes() {
        Some(available) => judge_memory(available, spec.node_count() as u64 * node_bytes(spec)),
        None => Check::warn("memory", "no MemAvailable in /proc/meminfo".to_owned(), "check free -g"),
    }
}

/// Resident size of a node under load: its heap and about 400 MiB for code, threads and buffers.
fn node_bytes(spec: &LocalSpec) -> u64 {
    const BESIDE_HEAP: u64 = 400 * 1024 * 1024;
    spec.heap_bytes() + BESIDE_HEAP
}

/// Brokers live from the page cache: without as much again for it, consumers read from the disk.
fn judge_memory(available: u64, needed: u64) -> Check {
    let gib = |bytes: u64| bytes as f64 / GIB as f64;
    let detail = format!("{:.1} GiB available, the brokers take {:.1} GiB", gib(available), gib(needed));
    if available < needed {
        Check::fail("memory", detail, "use fewer brokers or jvm: quick")
    } else if available < 2 * needed {
        Check::warn("memory", detail, "little is left for the page cache; use fewer brokers")
    } else {
        Check::ok("memory", detail)
    }
}

/// What can't be done here is refused by the plan of those who ask for it, and lessens nothing for others.
fn namespaces(unable: Option<&netns::Unable>) -> Check {
    match unable {
        None => {
            Check::ok("namespaces", "brokers may have networks of their own (isolation: netns)".to_owned())
        }
        Some(unable) => Check::ok(
            "namespaces",
            format!("no `isolation: netns`, which nothing else needs: {}", unable.why),
        ),
    }
}

/// As for namespaces: who asks for containers is refused by the plan.
fn containers(engine: Result<&docker::Engine, &netns::Unable>) -> Check {
    let detail = match engine {
        Ok(engine) => {
            format!("brokers may be containers (cluster.docker): Docker engine {} answers", engine.version)
        }
        Err(unable) => {
            format!(
                "no `cluster: {{ docker: … }}`, which nothing else needs: {}; {}",
                unable.why, unable.next_step
            )
        }
    };
    Check::ok("docker", detail)
}

/// Memory that the kernel could still give, bytes; `None` where it does not tell.
#[must_use]
pub fn available_memory_bytes() -> Option<u64> {
    parse_available_bytes(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka_home::KafkaVersion;

    #[test]
    fn limits_have_three_outcomes() {
        let statuses = |checks: [Check; 3]| checks.map(|check| check.status);
        let all = [Status::Fail, Status::Warn, Status::Ok];
        let here = Path::new("/");
        assert_eq!(statuses([512, 4096, 100_000].map(|hard| judge_open_files(256, hard))), all);
        assert_eq!(statuses([GIB / 2, 5 * GIB, 50 * GIB].map(|free| judge_disk(here, free))), all);
        assert_eq!(statuses([GIB, 6 * GIB, 16 * GIB].map(|available| judge_memory(available, 4 * GIB))), all);
    }

    #[test]
    fn slow_clocks_and_single_cores_are_warned_about() {
        assert_eq!(judge_clock_source("tsc").status, Status::Ok);
        assert_eq!(judge_clock_source("hpet").status, Status::Warn);
        assert_eq!(cores(1, 3).status, Status::Warn);
        assert_eq!(cores(2, 3).status, Status::Ok);
    }

    #[test]
    fn meminfo_is_in_kib() {
        let text = "MemTotal:       24684096 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(parse_available_bytes(text), Some(2 * 1024 * 1024));
        assert_eq!(parse_available_bytes("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn a_missing_distribution_fails_with_a_next_step() {
        let checks = examine(
            &LocalSpec { kafka: KafkaSource::Directory("/nonexistent".into()), ..LocalSpec::default() },
            Path::new("/nonexistent"),
            Path::new("/nonexistent/run"),
        );
        let kafka = checks.iter().find(|check| check.name == "kafka").unwrap();
        assert_eq!(kafka.status, Status::Fail);
        assert!(kafka.next_step.as_ref().unwrap().contains("--kafka-home"));
        let disk = checks.iter().find(|check| check.name == "disk").unwrap();
        assert!(disk.detail.ends_with("free at /"), "{disk:?}");
        assert!(checks.iter().all(|check| (check.status == Status::Ok) == check.next_step.is_none()));
    }

    #[test]
    fn cached_jars_need_no_maven() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir_all(cache.path().join("kafka/4.3.0/libs")).unwrap();
        let check = jars(&KafkaSource::Maven(KafkaVersion::DEFAULT), cache.path());
        assert_eq!(check.status, Status::Ok);
        assert!(check.detail.contains("are in"), "{check:?}");
    }
}
