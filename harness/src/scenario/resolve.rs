//! From the scenario as written to the complete one: defaults that depend on other fields, and forms that differ by
//! field. Where something is missing or ambiguous, the problem is noted and the nearest value stands in, so that the
//! rest can be checked as well.

use gauntlet_chaos::fault::CPU_SHARE_PERCENT_MAX;
use gauntlet_chaos::{ClientFault, DiskFault, KafkaVersion};

use super::interpolate::RUN_ID;
use super::problems::{Finding, Problems};
use super::types::{
    ActionName, Cluster, DockerCluster, Expectation, Fault, FaultAction, ForeignCluster, Guard, HealAction,
    Key, Lifecycle, LocalCluster, NetworkEffect, PartitionChoice, Recover, Report, Scenario, Target, Topic,
    Verify, Window, Workload,
};
use super::written::{
    ClusterWritten, DockerWritten, ExpectationWritten, FaultArgsWritten, FaultWritten, GuardWritten,
    PartitionOfWritten, PartitionWritten, Role, ScenarioWritten, TargetWritten, TopicWritten, VerifyWritten,
    WorkloadWritten,
};
use crate::units::{Bytes, Duration};

mod args;
mod client_target;
mod clients;
mod hooks;
mod load;
mod network;
mod operations;
mod records;
mod security;
mod shims;

pub(crate) use security::security;

/// Replicas of a topic where nothing is said and enough brokers are there.
const REPLICATION_FACTOR: u16 = 3;
/// Partitions of a topic where nothing is said.
const PARTITIONS: u32 = 12;

/// Fills in what `written` leaves out. `cores` decides the number of producers.
pub(crate) fn resolve(written: ScenarioWritten, cores: usize, problems: &mut Problems<'_>) -> Scenario {
    let cluster = cluster(written.cluster, problems);
    let topics = topics(written.topics, &written.name, &cluster, problems);
    let workload = workload(written.workload, &topics, cores, problems);
    let faults = written.faults.into_iter().enumerate();
    let faults = faults.map(|(index, fault)| self::fault(fault, index, &topics, problems)).collect();
    let expect = written.expect.into_iter().enumerate();
    let expect = expect.map(|(index, expectation)| self::expectation(expectation, index, problems)).collect();
    Scenario {
        report: report(written.report, &written.name),
        name: written.name,
        description: written.description,
        tags: written.tags,
        seed: written.seed,
        load: load::load(written.load, problems),
        rollback: written.rollback,
        verify: verify(written.verify),
        cluster,
        topics,
        workload,
        faults,
        expect,
        abort_when: written.abort_when.into_iter().map(guard).collect(),
    }
}

fn cluster(written: ClusterWritten, problems: &mut Problems<'_>) -> Cluster {
    if written.security.is_some() && written.bootstrap_servers.is_none() {
        problems.add(Finding {
            path: "cluster.security",
            message: "`cluster.security` is for `bootstrap_servers`".to_owned(),
            label: "there are none",
            help: "name them; local brokers have a `local.security` of their own",
        });
    }
    for (field, is_written, help) in [
        ("allow_faults", written.allow_faults, "remove it: faults on local brokers need no consent"),
        ("cluster_id", written.cluster_id.is_some(), "remove it: faults on local brokers need no consent"),
        ("command", written.command.is_some(), "remove it: gauntlet does faults to local brokers itself"),
        ("ssh", written.ssh.is_some(), "remove it: gauntlet does faults to local brokers itself"),
    ] {
        if is_written && written.bootstrap_servers.is_none() {
            problems.add(Finding {
                path: &format!("cluster.{field}"),
                message: format!("`cluster.{field}` is for `bootstrap_servers`"),
                label: "there are none",
                help,
            });
        }
    }
    let mut besides = |path: &str, label: &str| {
        problems.add(Finding {
            path,
            message: "`cluster` names two clusters".to_owned(),
            label,
            help: "keep `local`, `docker`, or `bootstrap_servers`",
        });
    };
    if written.docker.is_some() && written.local.is_some() {
        besides("cluster.docker", "besides `local`");
    } else if written.docker.is_some() && written.bootstrap_servers.is_some() {
        besides("cluster.bootstrap_servers", "besides `docker`");
    } else if written.local.is_some() && written.bootstrap_servers.is_some() {
        besides("cluster.bootstrap_servers", "besides `local`");
    }
    if let (Some(docker), None) = (written.docker, &written.local) {
        return Cluster::Docker(self::docker(docker));
    }
    match (written.local, written.bootstrap_servers) {
        (None, Some(servers)) => Cluster::Bootstrap(ForeignCluster {
            servers: servers.0,
            security: written.security.map(|s| security::security(s, problems)).unwrap_or_default(),
            allow_faults: written.allow_faults,
            cluster_id: written.cluster_id,
            hooks: hooks::hooks(written.command, written.ssh, problems),
        }),
        (Some(local), _) => Cluster::Local(local),
        (None, None) => Cluster::Local(LocalCluster::default()),
    }
}

fn docker(written: DockerWritten) -> DockerCluster {
    let DockerWritten { image, brokers, controllers, jvm, heap, config } = written;
    let nodes = LocalCluster { brokers, controllers, jvm, heap, config, ..LocalCluster::default() };
    DockerCluster { image, nodes }
}

fn topics(
    written: Option<Vec<TopicWritten>>,
    scenario: &str,
    cluster: &Cluster,
    problems: &mut Problems<'_>,
) -> Vec<Topic> {
    let default_topic = || TopicWritten {
        name: format!("gauntlet-{scenario}-{RUN_ID}"),
        partitions: None,
        replication_factor: None,
        config: Default::default(),
        lifecycle: Lifecycle::PerRun,
    };
    let written = match written {
        None => vec![default_topic()],
        Some(topics) if topics.is_empty() => {
            problems.add(Finding {
                path: "topics",
                message: "`topics` is empty".to_owned(),
                label: "a run needs a topic",
                help: "name one, or remove `topics` to get one of 12 partitions",
            });
            vec![default_topic()]
        }
        Some(topics) => topics,
    };
    written.into_iter().map(|topic| self::topic(topic, cluster)).collect()
}

fn topic(written: TopicWritten, cluster: &Cluster) -> Topic {
    let created = written.lifecycle != Lifecycle::Reuse;
    let nodes = cluster.nodes().filter(|_| created);
    let replicas = nodes.map(|nodes| nodes.brokers.min(REPLICATION_FACTOR));
    Topic {
        name: written.name,
        partitions: written.partitions.or(created.then_some(PARTITIONS)),
        replication_factor: written.replication_factor.or(replicas),
        config: written.config.into_iter().map(|(name, text)| (name, text.0)).collect(),
        lifecycle: written.lifecycle,
    }
}

fn workload(
    written: WorkloadWritten,
    topics: &[Topic],
    cores: usize,
    problems: &mut Problems<'_>,
) -> Workload {
    let producers = written.producers.map_or_else(|| vec![Default::default()], |blocks| blocks.0);
    if producers.is_empty() {
        problems.add(Finding {
            path: "workload.producers",
            message: "`workload.producers` is empty".to_owned(),
            label: "a run needs a producer",
            help: "remove `producers` to get the default ones",
        });
    }
    let consumers = written.consumers.map_or_else(|| vec![Default::default()], |blocks| blocks.0);
    let common = clients::Common {
        payload: records::payload("workload.payload", written.payload.unwrap_or_default(), problems),
        identity: written.identity,
        key: written.key.map_or(Key::None, |key| records::key("workload.key", key, problems)),
    };
    Workload {
        producers: producers
            .into_iter()
            .enumerate()
            .map(|(index, block)| clients::producers(block, index, topics, cores, &common, problems))
            .collect(),
        consumers: consumers
            .into_iter()
            .enumerate()
            .map(|(index, block)| clients::consumers(block, index, topics, problems))
            .collect(),
    }
}

/// The topic that a block means: the named one, or the only one there is.
fn topic_name(written: Option<String>, path: &str, topics: &[Topic], problems: &mut Problems<'_>) -> String {
    if let Some(name) = written {
        return name;
    }
    if topics.len() > 1 {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        problems.add(Finding {
            path,
            message: format!("`{path}` is missing, and the scenario has {} topics", topics.len()),
            label: "which topic?",
            help: &format!("topics of this scenario: {}", names.join(", ")),
        });
    }
    topics[0].name.clone()
}

/// How a target is written.
const TARGETS: &str = "write { role: controller }, { role: broker }, { id: 1 }, or { role: leader, of: { topic: NAME, partition: 0 } }";

fn fault(written: FaultWritten, index: usize, topics: &[Topic], problems: &mut Problems<'_>) -> Fault {
    let path = format!("faults[{index}]");
    let action = action(&written, &path, topics, problems);
    let mut recover = written.recover.map(|recover| Recover { action: recover.action, after: recover.after });
    if let Some(lasts_for) = written.lasts_for {
        if !lasts_until_told(&action) {
            let help = match (action.heal_action(), action.action_name().why_momentary()) {
                (Some(heal), _) => {
                    format!("write `recover: {{ action: {}, after: {lasts_for} }}`", heal.name())
                }
                (None, why) => format!("remove it: {}", why.unwrap_or("it is over at once")),
            };
            problems.add(Finding {
                path: &format!("{path}.for"),
                message: format!("`for` does not fit action `{}`", action.name()),
                label: "only for pauses, faults of network, disk, clock and clients, and operations that can be undone",
                help: &help,
            });
        } else if recover.is_some() {
            problems.add(Finding {
                path: &format!("{path}.for"),
                message: format!("fault `{}` has both `for` and `recover`", written.name),
                label: "",
                help: "keep one of the two",
            });
        }
        let heal = |action: HealAction| Recover { action, after: lasts_for };
        recover = recover.or(action.heal_action().map(heal));
    }
    Fault {
        target: fault_target(written.target, &path, &action, topics, problems),
        name: written.name,
        at: written.at,
        action,
        recover,
        every: written.every,
        jitter: written.jitter.unwrap_or(Duration::ZERO),
    }
}

/// The arguments of an action, and what they may refer to.
#[derive(Clone, Copy)]
struct Args<'a> {
    written: &'a FaultArgsWritten,
    action: ActionName,
    /// Path of `args`.
    path: &'a str,
    topics: &'a [Topic],
}

impl Args<'_> {
    /// Adds a problem with the argument `field`.
    fn refuse(self, field: &str, message: String, label: &str, help: &str, problems: &mut Problems<'_>) {
        problems.add(Finding { path: &format!("{}.{field}", self.path), message, label, help });
    }

    /// The topic that is named, or the only one there is.
    fn topic(self, problems: &mut Problems<'_>) -> String {
        topic_name(self.written.topic.clone(), &format!("{}.topic", self.path), self.topics, problems)
    }
}

/// Whether it lasts until it is ended, by something that starts no broker, unless the fault itself has ended it.
fn lasts_until_told(action: &FaultAction) -> bool {
    matches!(
        action.heal_action(),
        Some(
            HealAction::BrokerResume
                | HealAction::NetworkHeal
                | HealAction::DiskHeal
                | HealAction::ClockHeal
                | HealAction::CpuHeal
                | HealAction::ClientStart
                | HealAction::ClientResume
                | HealAction::OperationUndo
        )
    )
}

fn action(written: &FaultWritten, path: &str, topics: &[Topic], problems: &mut Problems<'_>) -> FaultAction {
    args::refuse_strays(written.action, &written.args, path, problems);
    let args = Args { written: &written.args, action: written.action, path: &format!("{path}.args"), topics };
    let network =
        |effect, problems: &mut Problems<'_>| FaultAction::Network(network::network(effect, args, problems));
    match written.action {
        ActionName::BrokerKill => FaultAction::BrokerKill,
        ActionName::BrokerStop => FaultAction::BrokerStop,
        ActionName::BrokerPause => FaultAction::BrokerPause,
        ActionName::BrokerRestart => FaultAction::BrokerRestart,
        ActionName::BrokerBounce => FaultAction::BrokerBounce,
        ActionName::BrokerSlowStart => {
            FaultAction::BrokerSlowStart { share_percent: share_percent(args, problems) }
        }
        ActionName::BrokerRollingRestart => FaultAction::BrokerRollingRestart,
        ActionName::BrokerRollingUpgrade => rolling_upgrade(args, problems),
        ActionName::BrokerKillAll => FaultAction::BrokerKillAll,
        ActionName::BrokerPowerLoss => FaultAction::BrokerPowerLoss { tail: args.written.tail },
        ActionName::QuorumLoss => FaultAction::QuorumLoss(args.written.by.unwrap_or_default()),
        ActionName::NetworkDelay => network(network::delay(args, problems), problems),
        ActionName::NetworkBandwidth => network(network::bandwidth(args, problems), problems),
        ActionName::NetworkReset => network(NetworkEffect::Reset, problems),
        ActionName::NetworkHalfOpen => network(NetworkEffect::HalfOpen, problems),
        ActionName::NetworkBlackHole => network(NetworkEffect::BlackHole, problems),
        ActionName::NetworkPartition => network(NetworkEffect::Partition, problems),
        ActionName::NetworkIsolate => network(NetworkEffect::Isolate, problems),
        ActionName::DiskSlow => FaultAction::Disk(shims::slow(args, problems)),
        ActionName::DiskFill => FaultAction::Disk(DiskFault::Fill),
        ActionName::DiskFail => FaultAction::Disk(shims::fail(args, problems)),
        ActionName::DiskReadOnly => FaultAction::Disk(DiskFault::ReadOnly),
        ActionName::ClockSkew => FaultAction::ClockSkew { offset_ns: shims::offset_ns(args, problems) },
        ActionName::CpuStarve => FaultAction::CpuStarve { share_percent: share_percent(args, problems) },
        ActionName::ClientKill => FaultAction::Client(ClientFault::Kill),
        ActionName::ClientPause => FaultAction::Client(ClientFault::Pause),
        ActionName::ClientZombie => FaultAction::Client(ClientFault::Zombie),
        ActionName::ConfigChange => FaultAction::Operation(operations::config_change(args, problems)),
        ActionName::PartitionReassign => {
            FaultAction::Operation(operations::partition_reassign(args, problems))
        }
        ActionName::LeaderImbalance => FaultAction::Operation(operations::leader_imbalance(args, problems)),
        ActionName::ElectionPreferred => {
            FaultAction::Operation(operations::election_preferred(args, problems))
        }
        ActionName::ElectionUnclean => FaultAction::Operation(operations::election_unclean(args, problems)),
        ActionName::TopicAddPartitions => {
            FaultAction::Operation(operations::topic_add_partitions(args, problems))
        }
        ActionName::TopicDeleteRecreate => {
            FaultAction::Operation(operations::topic_delete_recreate(args, problems))
        }
        ActionName::QuotaChange => FaultAction::Operation(operations::quota_change(args, problems)),
        ActionName::FeatureUpgrade => FaultAction::Operation(operations::feature_upgrade(args)),
        ActionName::BrokerAdd => FaultAction::Operation(operations::broker_add(args, problems)),
        ActionName::BrokerRemove => FaultAction::Operation(operations::broker_remove(args, problems)),
        ActionName::QuorumAddVoter => FaultAction::Operation(operations::quorum_add_voter(args, problems)),
        ActionName::QuorumRemoveVoter => FaultAction::Operation(operations::quorum_remove_voter(args)),
    }
}

/// What part of the time a node is left.
fn share_percent(args: Args<'_>, problems: &mut Problems<'_>) -> u8 {
    let percent = args.written.share.map(|share| (share.get() * 100.0).round());
    let allowed = 1.0..=f64::from(CPU_SHARE_PERCENT_MAX);
    if !percent.is_some_and(|percent| allowed.contains(&percent)) {
        let message = match args.written.share {
            Some(share) => format!("a `share` of {share}"),
            None => format!("`{}` needs a `share`", args.action.name()),
        };
        let label = format!("from 1 % to {CPU_SHARE_PERCENT_MAX} %");
        args.refuse("share", message, &label, "what it is left, for example args: { share: 20% }", problems);
    }
    percent.unwrap_or(100.0) as u8
}

fn rolling_upgrade(args: Args<'_>, problems: &mut Problems<'_>) -> FaultAction {
    let to = match args.written.version.as_deref().map(str::parse::<KafkaVersion>) {
        Some(Ok(version)) => version,
        Some(Err(error)) => {
            args.refuse("version", error.to_string(), "", "name a release of Kafka", problems);
            KafkaVersion::DEFAULT
        }
        None => {
            let message = format!("`{}` needs `version`", args.action.name());
            args.refuse("version", message, "", "for example args: { version: 4.3.0 }", problems);
            KafkaVersion::DEFAULT
        }
    };
    FaultAction::BrokerRollingUpgrade { to }
}

/// Some actions know whom they hit; all others have to be told.
fn fault_target(
    written: Option<TargetWritten>,
    path: &str,
    action: &FaultAction,
    topics: &[Topic],
    problems: &mut Problems<'_>,
) -> Target {
    let known = match action {
        FaultAction::Client(_) => {
            return client_target::resolve(written, &format!("{path}.target"), action, problems);
        }
        FaultAction::BrokerRollingRestart
        | FaultAction::BrokerRollingUpgrade { .. }
        | FaultAction::BrokerKillAll => Some((Target::AllBrokers, "all brokers are hit")),
        FaultAction::QuorumLoss(_) => {
            Some((Target::EnoughVoters, "the active controller and other voters are hit"))
        }
        FaultAction::Operation(_) => Some((Target::Cluster, "no node is hit; `args` say what is changed")),
        FaultAction::BrokerKill
        | FaultAction::BrokerPowerLoss { .. }
        | FaultAction::BrokerStop
        | FaultAction::BrokerPause
        | FaultAction::BrokerRestart
        | FaultAction::BrokerBounce
        | FaultAction::BrokerSlowStart { .. }
        | FaultAction::Network(_)
        | FaultAction::Disk(_)
        | FaultAction::CpuStarve { .. }
        | FaultAction::ClockSkew { .. } => None,
    };
    let path = format!("{path}.target");
    match (known, written) {
        (None, Some(written)) => {
            let is_all = written.role == Some(Role::All);
            if is_all && !matches!(action, FaultAction::BrokerPowerLoss { .. }) {
                problems.add(Finding {
                    path: &format!("{path}.role"),
                    message: format!("`role: all` does not fit action `{}`", action.name()),
                    label: "only for `broker.power-loss`",
                    help: "name one node or role; `broker.kill-all` kills all brokers",
                });
            }
            client_target::refuse_clients(&written, &path, action, problems);
            target(written, &path, topics, problems)
        }
        (None, None) => {
            problems.add(Finding {
                path: &path,
                message: format!("`{}` needs a `target`", action.name()),
                label: "who is hit?",
                help: TARGETS,
            });
            Target::Controller
        }
        (Some((target, whom)), written) => {
            if written.is_some() {
                problems.add(Finding {
                    path: &path,
                    message: format!("`{}` has no `target`", action.name()),
                    label: "not for this action",
                    help: &format!("remove it: {whom}"),
                });
            }
            target
        }
    }
}

fn target(written: TargetWritten, path: &str, topics: &[Topic], problems: &mut Problems<'_>) -> Target {
    let mut refuse = |field: &str, why: &str| {
        problems.add(Finding {
            path: &format!("{path}.{field}"),
            message: format!("`{field}` does not fit this target"),
            label: why,
            help: "targets are { role: leader, of: { topic, partition } }, { role: followers, of: { topic, partition } }, { role: controller }, { role: broker }, { role: all }, { id: N }, and { ids: [M, N] }",
        });
    };
    if written.of.is_some() && !matches!(written.role, Some(Role::Leader | Role::Followers)) {
        refuse("of", "only for `role: leader` and `role: followers`");
    }
    if written.not.is_some() && !matches!(written.role, Some(Role::Leader | Role::Broker)) {
        refuse("not", "only for `role: leader` and `role: broker`");
    }
    if written.id.is_some() && written.role.is_some() {
        refuse("id", "a target has a role or an id");
    }
    if written.ids.is_some() && (written.role.is_some() || written.id.is_some()) {
        refuse("ids", "a target has a role, an id, or ids");
    }
    if let (None, None, Some(ids)) = (written.role, written.id, &written.ids) {
        return nodes(ids, path, problems);
    }
    match (written.role, written.id, written.of) {
        (Some(Role::Leader), _, Some(of)) => {
            let topic = topic_name(of.topic, &format!("{path}.of.topic"), topics, problems);
            let partition = match (of.partition, written.not.is_some()) {
                (PartitionWritten::Lowest, true) => PartitionChoice::LowestNotController,
                (PartitionWritten::Lowest, false) => PartitionChoice::Lowest,
                (PartitionWritten::Number(number), false) => PartitionChoice::Number(number),
                (PartitionWritten::Number(number), true) => {
                    problems.add(Finding {
                        path: &format!("{path}.not"),
                        message: "`not: controller` leaves a single partition without a target".to_owned(),
                        label: "when its leader is the controller",
                        help: "write `partition: lowest` for the lowest partition whose leader may be hit",
                    });
                    PartitionChoice::Number(number)
                }
            };
            Target::Leader { topic, partition }
        }
        (Some(Role::Leader), _, None) => {
            problems.add(Finding {
                path,
                message: "`role: leader` needs `of`".to_owned(),
                label: "leader of which partition?",
                help: "write { role: leader, of: { topic: NAME, partition: 0 } }",
            });
            Target::Leader { topic: topics[0].name.clone(), partition: PartitionChoice::Lowest }
        }
        (Some(Role::Followers), _, of) => followers(of, path, topics, problems),
        (Some(Role::Controller), _, _) => Target::Controller,
        (Some(Role::Broker), _, _) => Target::Broker { not_controller: written.not.is_some() },
        // Refused before.
        (Some(Role::All | Role::Producer | Role::Consumer), _, _) => Target::AllBrokers,
        (None, Some(id), _) => Target::Id(id),
        (None, None, _) => {
            problems.add(Finding {
                path,
                message: "the target has none of `role`, `id` and `ids`".to_owned(),
                label: "who is hit?",
                help: TARGETS,
            });
            Target::Controller
        }
    }
}

/// Several nodes by their numbers.
fn nodes(written: &[u16], path: &str, problems: &mut Problems<'_>) -> Target {
    let mut ids = written.to_vec();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < written.len() || ids.len() < 2 {
        let label =
            if ids.len() < written.len() { "one of them is there twice" } else { "these are not several" };
        problems.add(Finding {
            path: &format!("{path}.ids"),
            message: "`ids` are several nodes, each once".to_owned(),
            label,
            help: "write { ids: [1, 2] }, or { id: 1 } for one node",
        });
    }
    Target::Ids(ids)
}

/// Those of one partition: who follows is said of partitions, and the followers of several may be everybody.
fn followers(
    of: Option<PartitionOfWritten>,
    path: &str,
    topics: &[Topic],
    problems: &mut Problems<'_>,
) -> Target {
    let named = of.and_then(|of| match of.partition {
        PartitionWritten::Number(number) => Some((of.topic, number)),
        PartitionWritten::Lowest => None,
    });
    let Some((topic, partition)) = named else {
        problems.add(Finding {
            path,
            message: "`role: followers` needs `of` with the number of a partition".to_owned(),
            label: "followers in which partition?",
            help: "write { role: followers, of: { topic: NAME, partition: 0 } }",
        });
        return Target::Followers { topic: topics[0].name.clone(), partition: 0 };
    };
    let topic = topic_name(topic, &format!("{path}.of.topic"), topics, problems);
    Target::Followers { topic, partition }
}

fn verify(written: Option<VerifyWritten>) -> Verify {
    let options = match written {
        Some(VerifyWritten::Off) => return Verify::Off,
        Some(VerifyWritten::On(options)) => options,
        None => Default::default(),
    };
    Verify::On {
        guarantee: options.guarantee,
        final_read_timeout: options.final_read.map_or(Duration::from_secs(120), |read| read.timeout),
        max_examples: options.max_examples.unwrap_or(8),
        keep_history: options.keep_history,
        history_max: options.history_max.unwrap_or(Bytes::new(256 << 20)),
    }
}

fn expectation(written: ExpectationWritten, index: usize, problems: &mut Problems<'_>) -> Expectation {
    match written {
        ExpectationWritten::Plain(that) => Expectation { that, during: None, severity: Default::default() },
        ExpectationWritten::Options(options) => Expectation {
            during: options.during.and_then(|during| window(&during, index, problems)),
            that: options.that,
            severity: options.severity,
        },
    }
}

fn guard(written: GuardWritten) -> Guard {
    match written {
        GuardWritten::Plain(that) => Guard { that, hold: Guard::HOLD },
        GuardWritten::Options(options) => {
            Guard { that: options.that, hold: options.hold.unwrap_or(Guard::HOLD) }
        }
    }
}

fn window(text: &str, index: usize, problems: &mut Problems<'_>) -> Option<Window> {
    match (text, text.split_once(':')) {
        ("all", _) => Some(Window::All),
        ("before", _) => Some(Window::Before),
        ("steady", _) => Some(Window::Steady),
        (_, Some(("fault", name))) => Some(Window::Fault(name.to_owned())),
        (_, Some(("recovery", name))) => Some(Window::Recovery(name.to_owned())),
        _ => {
            problems.add(Finding {
                path: &format!("expect[{index}].during"),
                message: format!("unknown window `{text}`"),
                label: "",
                help: "windows are all, before, steady, fault:NAME, and recovery:NAME",
            });
            None
        }
    }
}

fn report(written: Report, name: &str) -> Report {
    // The default is the only text that the interpolation has not seen.
    Report { dir: written.dir.replace("${name}", name), ..written }
}
