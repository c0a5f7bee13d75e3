//! From a scenario to a plan: units resolved, limits set, and everything refused that this version cannot carry out.

use std::path::PathBuf;

use gauntlet_chaos::disks;
use gauntlet_chaos::doctor::available_memory_bytes;
use gauntlet_chaos::{
    Controllers, DiskFault, FaultSpec, Isolation as LocalIsolation, Jvm, KafkaSource, KafkaVersion, LocalSpec,
};
use gauntlet_reports::{Capabilities, ExpectError, Expectation, metric};
use gauntlet_verify::{Guarantee, Preset};
use gauntlet_wire::LinkConfig;
use gauntlet_wire::codec::Codec;
use gauntlet_wire::fetcher::Isolation;
use gauntlet_wire::producer::Acks;

use super::needs::{Needs, bound_disk, needs};
use super::security::{self, process_environment};
use super::{external, faults, hooks, load, rdkafka, *};
use crate::report::ReportForm;
use crate::run::guards;
use crate::scenario::types as file;
use crate::scenario::{ExpressionMistake, LoadedScenario, LoadedSecurity, Scenario, ScenarioError};
use crate::units::{self, Bytes};

/// Replicas of a topic that the scenario does not say it of, if there are as many brokers.
pub(crate) const RF_DEFAULT_MAX: u16 = 3;

/// What a plan depends on besides the scenario.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Id of the run.
    pub run_id: String,
    /// The same as a number, in every record.
    pub run: u32,
    /// Seed, if not that of the scenario.
    pub seed: u64,
    /// A distribution of Kafka to use instead of the named version.
    pub kafka_home: Option<PathBuf>,
    /// Where run directories go, if not where the scenario says.
    pub out: Option<PathBuf>,
}

/// A plan with its faults and expectations.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Where the run will write.
    pub run_dir: PathBuf,
    /// Its faults.
    pub faults: Vec<FaultSpec>,
    /// Its expectations, the built-in ones last.
    pub expectations: Vec<Expectation>,
    /// What it will take.
    pub needs: Needs,
    /// What a person should know before it starts, one line each.
    pub warnings: Vec<String>,
    /// Reports that are written at its end.
    pub reports: Vec<ReportForm>,
}

/// Something that the scenario asks for and the plan refuses: path of the field, what is wrong, the next step.
#[derive(Debug)]
pub(super) struct Refusal {
    path: String,
    pub(super) message: String,
    help: String,
}

pub(super) fn refuse(
    path: impl Into<String>,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Refusal {
    Refusal { path: path.into(), message: message.into(), help: help.into() }
}

/// What a scenario can produce; its expectations are checked against it.
pub fn capabilities(scenario: &Scenario) -> Capabilities {
    let hides_writes = scenario.workload.producers.iter().any(|p| p.driver != file::Driver::Wire);
    let rdkafka_sends = scenario.workload.producers.iter().any(|p| p.driver == file::Driver::Rdkafka);
    let hides_answers = scenario.workload.producers.iter().any(|p| p.driver == file::Driver::External);
    let rdkafka_reads = scenario.workload.consumers.iter().any(|c| c.driver == file::Driver::Rdkafka);
    Capabilities {
        hides_writes,
        hides_answers,
        queues: rdkafka_sends,
        drops: scenario.load.overflow == file::Overflow::Drop,
        statistics: rdkafka_sends || rdkafka_reads,
        acks: scenario.workload.producers.iter().any(|p| p.config.acks != file::Acks::None),
        readers: !scenario.workload.consumers.is_empty(),
        verify: scenario.verify != file::Verify::Off,
        schedule: scenario.load.shape.is_scheduled(),
        search: matches!(scenario.load.shape, file::Shape::MaxSearch(_)),
        headroom: matches!(&scenario.load.shape, file::Shape::MaxSearch(search) if search.headroom.is_some()),
        faults: scenario.faults.iter().map(|f| f.name.clone()).collect(),
    }
}

/// Parses an expectation of a scenario; for [`crate::scenario::LoadOptions::expectation_check`].
///
/// # Errors
/// What is wrong with the expression, and where in it.
pub fn check_expectation(
    scenario: &Scenario,
    expectation: &file::Expectation,
) -> Result<(), ExpressionMistake> {
    parse_expectation(&capabilities(scenario), expectation).map(drop).map_err(
        |ExpectError { offset, length, message, help }| ExpressionMistake { offset, length, message, help },
    )
}

/// What is expected of what a search finds, in the order of the file.
pub(crate) fn search_expectations(scenario: &Scenario) -> Vec<Expectation> {
    let capabilities = capabilities(scenario);
    // They were parsed when the file was loaded; what does not parse now can't be.
    let all = scenario.expect.iter().filter_map(|e| parse_expectation(&capabilities, e).ok());
    all.filter(|e| matches!(e.metric.needs, metric::Needs::Search | metric::Needs::Headroom)).collect()
}

fn parse_expectation(
    capabilities: &Capabilities,
    expectation: &file::Expectation,
) -> Result<Expectation, ExpectError> {
    let severity = match expectation.severity {
        file::Severity::Fail => gauntlet_reports::Severity::Fail,
        file::Severity::Warn => gauntlet_reports::Severity::Warn,
        file::Severity::Info => gauntlet_reports::Severity::Info,
    };
    let during = expectation.during.as_ref().map(ToString::to_string);
    Expectation::parse(&expectation.that, during.as_deref(), severity, capabilities)
}

/// Makes the plan of a scenario.
///
/// # Errors
/// What this version, or this machine, cannot carry out; each with its place in the file.
pub fn plan(loaded: &LoadedScenario, options: &PlanOptions) -> Result<Planned, ScenarioError> {
    let scenario = loaded.scenario.with_run_id(&options.run_id);
    let mut planned = build(&scenario, options).map_err(|refusals| ScenarioError {
        diagnostics: refusals
            .into_iter()
            .map(|r| loaded.diagnostic(&r.path, &r.message, "", &r.help))
            .collect(),
    })?;
    hooks::name_brokers(&mut planned.plan, loaded);
    Ok(planned)
}

/// Reads the files and environment variables that a block `cluster.security` names.
///
/// # Errors
/// What can't be read or used, with its place in the file.
pub fn client_security(loaded: &LoadedSecurity) -> Result<Security, ScenarioError> {
    security::security(&loaded.security, &process_environment).map_err(|refusal| ScenarioError {
        diagnostics: vec![loaded.diagnostic(&refusal.path, &refusal.message, &refusal.help)],
    })
}

fn build(scenario: &Scenario, options: &PlanOptions) -> Result<Planned, Vec<Refusal>> {
    let mut refusals = Vec::new();
    refuse_unsupported(scenario, &mut refusals);
    let topics = topics(scenario, &mut refusals);
    let cluster = match cluster(scenario, options) {
        Ok(cluster) => Some(cluster),
        Err(refusal) => {
            refusals.push(refusal);
            None
        }
    };
    let faults = faults::faults(scenario, scenario.seed.unwrap_or(options.seed), &mut refusals);
    let load = load::load(scenario, &topics, &mut refusals);
    let mut warnings = rdkafka::check(scenario, &mut refusals);
    external::check(scenario, cluster.as_ref(), &mut refusals);
    let producers = producers(scenario, &topics, &load, &mut refusals);
    let guards = guards(scenario, &mut refusals);
    let Some(cluster) = cluster.filter(|_| refusals.is_empty()) else { return Err(refusals) };
    let mut plan = Plan {
        name: scenario.name.clone(),
        run_id: options.run_id.clone(),
        run: options.run,
        seed: scenario.seed.unwrap_or(options.seed),
        cluster,
        producers,
        readers: scenario.workload.consumers.iter().map(|c| reader_block(c, &topics)).collect(),
        topics,
        load,
        verify: None,
        guards,
        evidence: "complete",
    };
    plan.verify = verify(scenario, &plan);
    warnings.extend(rdkafka::warnings(scenario, &plan));
    let run_dir = match &options.out {
        Some(out) => out.join(&plan.name).join(&plan.run_id),
        None => scenario.report.path(),
    };
    let needs = needs(&plan, &run_dir);
    bound_disk(&mut plan, &needs).map_err(|refusal| vec![refusal])?;
    let capabilities = capabilities(scenario);
    // They were parsed when the file was loaded; what does not parse now can't be.
    let mut expectations: Vec<Expectation> =
        scenario.expect.iter().filter_map(|e| parse_expectation(&capabilities, e).ok()).collect();
    let written: Vec<Expectation> = expectations.clone();
    let repeats = |builtin: &Expectation| {
        let same = |e: &&Expectation| e.rule == builtin.rule && e.during == builtin.during;
        written.iter().find(same).is_some_and(|e| e.severity == gauntlet_reports::Severity::Fail)
    };
    expectations.extend(Expectation::built_in(&capabilities).into_iter().filter(|e| !repeats(e)));
    Ok(Planned { plan, run_dir, faults, expectations, needs, warnings, reports: reports(&scenario.report) })
}

/// The guardrails; refuses those that are about something that nobody knows before the end.
fn guards(scenario: &Scenario, refusals: &mut Vec<Refusal>) -> Vec<GuardPlan> {
    let capabilities = capabilities(scenario);
    let mut plans = Vec::new();
    for (index, guard) in scenario.abort_when.iter().enumerate() {
        let that =
            file::Expectation { that: guard.that.clone(), during: None, severity: file::Severity::Fail };
        // They were parsed when the file was loaded, as expectations were.
        let Ok(condition) = parse_expectation(&capabilities, &that) else { continue };
        if guards::is_live(&condition) {
            let seconds = guard.hold.to_std().as_secs().try_into().unwrap_or(u32::MAX);
            plans.push(GuardPlan { condition, seconds });
        } else {
            refusals.push(refuse(
                format!("abort_when[{index}]"),
                format!("`{}` is not known while a run goes", condition.rule),
                format!("what is: {}", guards::live_metrics().join(", ")),
            ));
        }
    }
    plans
}

/// `json` needs no form: every run directory holds `run.json`.
fn reports(report: &file::Report) -> Vec<ReportForm> {
    let wanted = |form: &ReportForm| {
        report.formats.contains(&match form {
            ReportForm::Html => file::ReportFormat::Html,
            ReportForm::Junit => file::ReportFormat::Junit,
        })
    };
    ReportForm::ALL.into_iter().filter(wanted).collect()
}

fn refuse_unsupported(scenario: &Scenario, refusals: &mut Vec<Refusal>) {
    if scenario.rollback != file::Rollback::Always {
        let help = "leave it out: faults are always healed, and a local cluster ends with its run";
        refusals.push(refuse("rollback", "only `rollback: always` is supported yet", help));
    }
    let unlimited_count =
        matches!(scenario.load.shape, file::Shape::Unlimited { extent: file::Extent::Messages(_), .. });
    if unlimited_count && scenario.load.warmup != file::Warmup::For(crate::units::Duration::ZERO) {
        let help = "give a `duration` instead of `messages`, or set `warmup: 0s`";
        refusals.push(refuse("load.warmup", "a load of so many messages has no warm-up yet", help));
    }
    let mut read = Vec::new();
    for (i, consumers) in scenario.workload.consumers.iter().enumerate() {
        if read.contains(&&consumers.topic) {
            let message = format!("topic `{}` has readers already", consumers.topic);
            let help = "raise `members` of the first block: each partition is read once";
            refusals.push(refuse(format!("workload.consumers[{i}]"), message, help));
        }
        read.push(&consumers.topic);
    }
    let producers: u64 = scenario.workload.producers.iter().map(|p| u64::from(p.count)).sum();
    if producers > u64::from(u16::MAX) {
        refusals.push(refuse(
            "workload.producers",
            format!("{producers} producers are too many"),
            "at most 65,535",
        ));
    }
}

fn cluster(scenario: &Scenario, options: &PlanOptions) -> Result<ClusterPlan, Refusal> {
    let local = match &scenario.cluster {
        file::Cluster::Bootstrap(foreign) => {
            let security = security::security(&foreign.security, &process_environment)?;
            return Ok(ClusterPlan::Bootstrap(ForeignPlan {
                servers: foreign.servers.clone(),
                security,
                allow_faults: foreign.allow_faults,
                cluster_id: foreign.cluster_id.clone(),
                hooks: hooks::hooks(foreign, &process_environment)?,
                named: Vec::new(),
            }));
        }
        file::Cluster::Local(local) => local,
        file::Cluster::Docker(docker) => &docker.nodes,
    };
    let kafka = match (&scenario.cluster, &options.kafka_home) {
        (file::Cluster::Docker(docker), home) => image(docker, home.is_some())?,
        (_, Some(home)) => KafkaSource::Directory(home.clone()),
        (_, None) => KafkaSource::Maven(
            local
                .version
                .parse::<KafkaVersion>()
                .map_err(|e| refuse("cluster.local.version", e.to_string(), "for example 4.3.0 or 3.9.1"))?,
        ),
    };
    let isolation = isolation(local.isolation)?;
    let joining = scenario.joining();
    let spec = LocalSpec {
        brokers: local.brokers,
        spare_brokers: joining.brokers,
        spare_controllers: joining.controllers,
        dynamic_quorum: scenario.changes_voters(),
        isolation,
        controllers: match local.controllers {
            file::Controllers::Combined => Controllers::Combined,
            file::Controllers::Isolated(count) => Controllers::Isolated(count),
        },
        kafka,
        jvm: match local.jvm {
            file::Jvm::Steady => Jvm::Steady,
            file::Jvm::Quick => Jvm::Quick,
        },
        heap_bytes: local.heap.map(|heap| heap.get()),
        disk_bytes: disk_bytes(local, joining)?,
        config: local.config.clone(),
        security: local.security.map(security::local),
        upgrade_to: scenario.faults.iter().find_map(|fault| match &fault.action {
            file::FaultAction::BrokerRollingUpgrade { to } => Some(to.clone()),
            _ => None,
        }),
        proxied: isolation == LocalIsolation::Process
            && scenario.faults.iter().any(|fault| matches!(fault.action, file::FaultAction::Network(_))),
        shimmed: scenario.faults.iter().any(|fault| {
            match fault.action {
                // Then it is really filled.
                file::FaultAction::Disk(DiskFault::Fill) => local.disk.is_none(),
                file::FaultAction::Disk(_) | file::FaultAction::ClockSkew { .. } => true,
                _ => false,
            }
        }),
        ..LocalSpec::default()
    };
    spec.validate().map_err(|e| refuse(scenario.cluster.nodes_path(), e.to_string(), ""))?;
    Ok(ClusterPlan::Local(spec))
}

/// What containers are made of; refused if there is no engine that could make them.
fn image(docker: &file::DockerCluster, names_home: bool) -> Result<KafkaSource, Refusal> {
    let path = "cluster.docker";
    if let Some(unable) = gauntlet_chaos::docker::why_not() {
        let message = format!("containers are not possible here: {}", unable.why);
        return Err(refuse(path, message, unable.next_step.clone()));
    }
    if names_home {
        let help = "leave `--kafka-home` out, or use `cluster: { local: … }`";
        return Err(refuse(path, "`--kafka-home` is for local brokers: an image has jars of its own", help));
    }
    Ok(KafkaSource::Image(docker.image.clone()))
}

/// The size of each node's own disk; refused if this machine can mount none, or has too little memory for all of them.
fn disk_bytes(local: &file::LocalCluster, joining: file::Joining) -> Result<Option<u64>, Refusal> {
    let Some(disk) = local.disk else { return Ok(None) };
    let path = "cluster.local.disk";
    if let Some(why) = disks::why_not() {
        let message = format!("`disk` is not possible here: {why}");
        return Err(refuse(
            path,
            message,
            "run gauntlet as root, or leave `disk` out: `disk.fill` is imitated then",
        ));
    }
    let nodes: u64 = [local.brokers, joining.brokers, local.own_controllers(), joining.controllers]
        .map(u64::from)
        .iter()
        .sum();
    let needed = disk.get().saturating_mul(nodes);
    match available_memory_bytes() {
        Some(available) if needed > available / 2 => {
            let message = format!(
                "{nodes} disks of {disk} are {}, and they are in memory, of which {} are available",
                Bytes::new(needed),
                Bytes::new(available)
            );
            Err(refuse(path, message, "at most half of it: make them smaller, or leave `disk` out"))
        }
        _ => Ok(Some(disk.get())),
    }
}

/// Where brokers are to be; refused if this machine has no such place.
fn isolation(isolation: file::Isolation) -> Result<LocalIsolation, Refusal> {
    match isolation {
        file::Isolation::Process => Ok(LocalIsolation::Process),
        file::Isolation::Netns => match gauntlet_chaos::netns::why_not() {
            None => Ok(LocalIsolation::Netns),
            Some(unable) => {
                let message = format!("`isolation: netns` is not possible here: {}", unable.why);
                Err(refuse("cluster.local.isolation", message, unable.next_step.clone()))
            }
        },
    }
}

fn topics(scenario: &Scenario, refusals: &mut Vec<Refusal>) -> Vec<TopicPlan> {
    let brokers = scenario.cluster.nodes().map(|nodes| nodes.brokers);
    let mut plans = Vec::new();
    for (i, topic) in scenario.topics.iter().enumerate() {
        let reuse = topic.lifecycle == file::Lifecycle::Reuse;
        if reuse && topic.partitions.is_none() {
            let help = "say how many it has; it is checked before the load begins";
            refusals.push(refuse(format!("topics[{i}]"), "a reused topic needs `partitions`", help));
        }
        let mut config = topic.config.clone();
        let nodes = scenario.cluster.nodes();
        let is_set = nodes.is_some_and(|nodes| nodes.config.contains_key("log.cleanup.policy"));
        if !reuse && !is_set && scenario.verify != file::Verify::Off {
            // Whatever the brokers' own default is, or becomes: the check has to know whether records may be compacted away.
            config.entry("cleanup.policy".to_owned()).or_insert_with(|| "delete".to_owned());
        }
        plans.push(TopicPlan {
            name: topic.name.clone(),
            partitions: topic.partitions.unwrap_or(12),
            replication_factor: topic.replication_factor.or(brokers.map(|b| b.min(RF_DEFAULT_MAX))),
            config,
            lifecycle: match topic.lifecycle {
                file::Lifecycle::PerRun => Lifecycle::PerRun,
                file::Lifecycle::Keep => Lifecycle::Keep,
                file::Lifecycle::Reuse => Lifecycle::Reuse,
            },
        });
    }
    plans
}

/// Index of a topic; the scenario was checked to name only its own.
fn index_of(topics: &[TopicPlan], name: &str) -> usize {
    topics.iter().position(|t| t.name == name).unwrap_or(0)
}

fn producers(
    scenario: &Scenario,
    topics: &[TopicPlan],
    plan: &LoadPlan,
    refusals: &mut Vec<Refusal>,
) -> Vec<ProducerBlock> {
    let blocks = scenario.workload.producers.iter().zip(load::load_indices(scenario)).enumerate();
    let block = |(index, (block, load)): (usize, (&file::Producers, usize))| {
        let mut records = load::records(index, block, refusals);
        if let PacePlan::Replay { trace, .. } = &plan.paces[load] {
            records.replay(trace);
        }
        producer_block(block, topics, load, records)
    };
    blocks.map(block).collect()
}

/// A codec by its name in a scenario.
pub(super) fn codec(compression: file::Compression) -> Codec {
    match compression {
        file::Compression::None => Codec::None,
        file::Compression::Gzip => Codec::Gzip,
        file::Compression::Snappy => Codec::Snappy,
        file::Compression::Lz4 => Codec::Lz4,
        file::Compression::Zstd => Codec::Zstd,
    }
}

fn producer_block(
    producers: &file::Producers,
    topics: &[TopicPlan],
    load: usize,
    records: RecordPlan,
) -> ProducerBlock {
    let config = &producers.config;
    ProducerBlock {
        load,
        records,
        topic: index_of(topics, &producers.topic),
        count: producers.count,
        driver: rdkafka::of_producers(producers),
        links: LinkConfig {
            bootstrap: Vec::new(),
            client_id: config.client_id.clone(),
            request_timeout: config.request_timeout.to_std(),
            setup_timeout: config.connection_setup_timeout.to_std(),
            reconnect_backoff: config.reconnect_backoff.to_std(),
            reconnect_backoff_max: config.reconnect_backoff_max.to_std(),
            retry_backoff: config.retry_backoff.to_std(),
            retry_backoff_max: config.retry_backoff_max.to_std(),
            metadata_max_age: config.metadata_max_age.to_std(),
            // Known when the cluster is: a local one makes its own.
            security: Security::default(),
        },
        acks: match config.acks {
            file::Acks::All => Acks::All,
            file::Acks::Leader => Acks::Leader,
            file::Acks::None => Acks::None,
        },
        idempotent: config.enable_idempotence,
        codec: codec(config.compression),
        linger: config.linger.to_std(),
        batch_bytes: config.batch_size_bytes as usize,
        request_bytes: config.max_request_size_bytes as usize,
        buffer_bytes: config.buffer_memory_bytes as usize,
        max_in_flight: config.max_in_flight as usize,
        delivery_timeout: config.delivery_timeout.to_std(),
        retries: config.retries > 0,
    }
}

fn reader_block(consumers: &file::Consumers, topics: &[TopicPlan]) -> ReaderBlock {
    let config = &consumers.config;
    ReaderBlock {
        topic: index_of(topics, &consumers.topic),
        members: consumers.members,
        window: ReadWindow {
            start: consumers.start.map(units::Duration::to_std),
            end: consumers.end.map(units::Duration::to_std),
        },
        driver: rdkafka::of_consumers(consumers),
        links: LinkConfig {
            client_id: config.client_id.clone(),
            request_timeout: config.request_timeout.to_std(),
            retry_backoff: config.retry_backoff.to_std(),
            metadata_max_age: config.metadata_max_age.to_std(),
            ..LinkConfig::default()
        },
        max_wait: config.fetch_max_wait.to_std(),
        min_bytes: config.fetch_min_bytes as usize,
        max_bytes: config.fetch_max_bytes as usize,
        partition_max_bytes: config.max_partition_fetch_bytes as usize,
        isolation: match config.isolation_level {
            file::IsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
            file::IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        },
    }
}

/// What the run is judged by: what the scenario declares, else what its weakest producer gives.
fn verify(scenario: &Scenario, plan: &Plan) -> Option<VerifyPlan> {
    let file::Verify::On { guarantee, final_read_timeout, max_examples, keep_history, history_max } =
        scenario.verify
    else {
        return None;
    };
    let derived = plan
        .producers
        .iter()
        .map(|block| {
            let topic = &plan.topics[block.topic];
            Guarantee::derive(&plan.semantics(block, plan.unclean_election(topic)))
        })
        .reduce(weaker)
        .unwrap_or_else(|| Preset::None.guarantee());
    let declared = guarantee.map(|g| {
        match g {
            file::Guarantee::AtMostOnce => Preset::AtMostOnce,
            file::Guarantee::AtLeastOnce => Preset::AtLeastOnce,
            file::Guarantee::Idempotent => Preset::Idempotent,
            file::Guarantee::ExactlyOnce => Preset::ExactlyOnce,
            file::Guarantee::None => Preset::None,
        }
        .guarantee()
    });
    Some(VerifyPlan {
        guarantee: declared.unwrap_or(derived),
        derived,
        final_read: final_read_timeout.to_std(),
        examples_max: usize::from(max_examples),
        history: (keep_history != file::KeepHistory::Never).then(|| HistoryPlan {
            bytes_max: history_max.get(),
            only_on_failure: keep_history == file::KeepHistory::OnFailure,
        }),
    })
}

fn weaker(a: Guarantee, b: Guarantee) -> Guarantee {
    Guarantee {
        durable: a.durable && b.durable,
        unique: a.unique && b.unique,
        ordered: a.ordered.min(b.ordered),
        atomic: a.atomic && b.atomic,
    }
}
