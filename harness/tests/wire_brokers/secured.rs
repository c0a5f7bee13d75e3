//! TLS, log-ins, ACLs and sessions that end, on three brokers that demand all of it; and whole runs against them.

mod runs;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use gauntlet_chaos::{Jvm, LocalCluster, LocalSecurity, LocalSpec, Mechanism, Protocol};
use gauntlet_wire::security::{Login, ScramHash, Secret, Tls, TlsSettings, TokenSource, Trust};
use gauntlet_wire::{
    ConnectOptions, Connection, NewTopic, Operation, Permission, Resource, Security, WireError,
};
use libtest_mimic::{Failed, Trial};

use crate::cluster::{LIMIT, SharedCluster, TestResult, Topic, connect, eventually, report};
use crate::judge::judge;
use crate::load::{PlannedBatch, VALUE_BYTES, at_once, config, produce};

/// Sessions end after it: every load that is longer logs in again.
const SESSION: Duration = Duration::from_secs(4);
/// Of users that tests make. Nothing that is printed or kept may hold it.
const PASSWORD: &str = "correct-horse-battery-staple";

pub(crate) fn cluster() -> SharedCluster {
    SharedCluster::of(spec)
}

/// The load's own mechanism is PLAIN; tests make users for the others.
fn spec() -> LocalSpec {
    let module = "org.apache.kafka.common.security";
    let session_ms = SESSION.as_millis().to_string();
    let listener = "listener.name.sasl_ssl";
    let scram = format!("{module}.scram.ScramLoginModule required;");
    let oauth =
        format!("{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"x\";");
    let config = [
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("connections.max.reauth.ms", &session_ms),
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"),
        (&format!("{listener}.scram-sha-256.sasl.jaas.config"), &scram),
        (&format!("{listener}.scram-sha-512.sasl.jaas.config"), &scram),
        (&format!("{listener}.oauthbearer.sasl.jaas.config"), &oauth),
    ];
    LocalSpec {
        jvm: Jvm::Quick,
        config: config.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        security: Some(LocalSecurity { protocol: Protocol::SaslSsl(Mechanism::Plain), acls: true }),
        ..LocalSpec::default()
    }
}

pub(crate) fn trials(shared: &Arc<SharedCluster>) -> Vec<Trial> {
    let mut trials = vec![
        shared.trial("every_mechanism_writes_and_reads", every_mechanism_writes_and_reads),
        shared.trial("a_refused_log_in_says_why", a_refused_log_in_says_why),
        shared.trial("a_failed_check_of_tls_says_which", a_failed_check_of_tls_says_which),
        shared.trial("the_wrong_protocol_is_recognised", the_wrong_protocol_is_recognised),
        shared.trial("a_missing_permission_is_named", a_missing_permission_is_named),
        shared.trial("sessions_are_renewed_under_load", sessions_are_renewed_under_load),
        shared.trial("a_connection_at_rest_outlives_its_session", a_connection_at_rest_outlives_its_session),
    ];
    trials.extend(runs::trials(shared));
    trials
}

/// A connection as somebody else than the load; TLS as the load has it.
fn security_of(cluster: &LocalCluster, login: Login) -> Security {
    Security { tls: cluster.security().tls.clone(), login: Some(Arc::new(login)) }
}

fn options(security: Security) -> ConnectOptions {
    ConnectOptions { security, ..ConnectOptions::default() }
}

/// Makes a SCRAM user, and waits until every broker knows it.
fn make_user(cluster: &LocalCluster, name: &str, hash: ScramHash) -> Result<Security, Failed> {
    connect(cluster)?.set_scram_password(name, hash, &Secret::new(PASSWORD), b"pepper and salt")?;
    let security = security_of(cluster, Login::scram(hash, name, Secret::new(PASSWORD)));
    for addr in cluster.bootstrap() {
        eventually("the user is known", || match Connection::connect(&addr, &options(security.clone())) {
            Ok(_) => Ok(true),
            Err(WireError::Authentication { .. }) => Ok(false),
            Err(other) => Err(other.into()),
        })?;
    }
    Ok(security)
}

/// Lets `User:name` do all of this, and waits until every broker knows it.
fn grant(cluster: &LocalCluster, name: &str, permissions: &[Permission]) -> TestResult {
    let principal = format!("User:{name}");
    connect(cluster)?.grant(&principal, permissions)?;
    for addr in cluster.bootstrap() {
        eventually("the permissions are known", || {
            let granted = Connection::connect(&addr, &cluster.operator())?.granted(&principal)?;
            Ok(permissions.iter().all(|permission| granted.contains(permission)))
        })?;
    }
    Ok(())
}

fn on_topics(prefix: &str, operations: &[Operation]) -> Vec<Permission> {
    let resource = Resource::TopicPrefix(prefix.to_owned());
    operations
        .iter()
        .map(|operation| Permission { operation: *operation, resource: resource.clone() })
        .collect()
}

fn every_mechanism_writes_and_reads(cluster: &Arc<LocalCluster>) -> TestResult {
    let unsecured =
        TokenSource::Unsecured { subject: "by-token".to_owned(), lifetime: Duration::from_secs(60) };
    let users = [
        ("gauntlet", cluster.security().clone()),
        ("by-256", make_user(cluster, "by-256", ScramHash::Sha256)?),
        ("by-512", make_user(cluster, "by-512", ScramHash::Sha512)?),
        ("by-token", security_of(cluster, Login::oauthbearer(unsecured))),
    ];
    for (user, security) in users {
        let mechanism = security.login.as_ref().map_or("", |login| login.mechanism());
        let topic = Topic::create(cluster, &format!("secured-{user}"), 3, &[])?;
        grant(cluster, user, &on_topics("secured-", &[Operation::Write, Operation::Read]))?;
        let mut config = config(cluster.bootstrap(), &topic);
        config.links.security = security;
        let produced = produce(config, vec![at_once(20, 50); 3], &Arc::new(AtomicU64::new(0)))?;
        judge(cluster, &topic, &produced)?.expect_all_acked(3_000)?;
        assert!(produced.stats.disconnects.is_empty(), "{mechanism}: {:?}", produced.stats);
    }
    Ok(())
}

/// The error of connecting to the first broker. Nothing of it may hold a password, and it may not take long.
fn refusal(cluster: &LocalCluster, security: Security) -> Result<String, Failed> {
    refusal_at(&cluster.bootstrap()[0], security)
}

fn refusal_at(addr: &str, security: Security) -> Result<String, Failed> {
    let begun = Instant::now();
    let connected = Connection::connect(addr, &options(security)).and_then(|mut c| c.metadata(Some(&[])));
    let error = connected.err().ok_or("it was let in")?;
    let text = error.to_string();
    let limit = ConnectOptions::default().timeout;
    assert!(begun.elapsed() < limit, "it was noticed, not only timed out: {text}");
    assert!(!text.contains(PASSWORD) && !format!("{error:?}").contains(PASSWORD), "{text}");
    report(&text);
    Ok(text)
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn a_refused_log_in_says_why(cluster: &Arc<LocalCluster>) -> TestResult {
    let addr = cluster.bootstrap()[0].clone();
    let wrong = || Secret::new(format!("not-{PASSWORD}"));
    make_user(cluster, "tim", ScramHash::Sha256)?;
    for (login, mechanism) in [
        (Login::scram(ScramHash::Sha256, "tim", wrong()), "SCRAM-SHA-256"),
        (Login::plain("gauntlet", wrong()), "PLAIN"),
    ] {
        let text = refusal(cluster, security_of(cluster, login))?;
        let next = "check sasl.username, sasl.password and sasl.mechanism";
        assert_says(&text, &[&addr, mechanism, "nvalid", "SASL_AUTHENTICATION_FAILED", next]);
    }
    // Known, but not for this mechanism.
    let other = Login::scram(ScramHash::Sha512, "tim", Secret::new(PASSWORD));
    let text = refusal(cluster, security_of(cluster, other))?;
    assert_says(&text, &["User:tim", "SCRAM-SHA-512"]);
    let expired = TokenSource::Unsecured { subject: "late".to_owned(), lifetime: Duration::ZERO };
    let text = refusal(cluster, security_of(cluster, Login::oauthbearer(expired)))?;
    assert_says(&text, &["User:late", "OAUTHBEARER", "has not expired"]);
    Ok(())
}

fn a_failed_check_of_tls_says_which(cluster: &Arc<LocalCluster>) -> TestResult {
    let login = cluster.security().login.clone();
    let trust = |pem: String, verify_host| -> Result<Security, Failed> {
        let settings = TlsSettings { trust: Trust::Pem(pem), identity: None, verify_host };
        Ok(Security { tls: Some(Tls::new(&settings)?), login: login.clone() })
    };
    let stranger = rcgen::generate_simple_self_signed(["stranger".to_owned()])?.cert.pem();
    let text = refusal(cluster, trust(stranger, true)?)?;
    assert_says(&text, &["unknown certificate authority", "ssl.truststore.location"]);

    let authority = std::fs::read_to_string(authority_file(cluster)?)?;
    let by_name = cluster.bootstrap()[0].replace("127.0.0.1", "localhost");
    let text = refusal_at(&by_name, trust(authority.clone(), true)?)?;
    assert_says(
        &text,
        &["not valid for localhost; it is for 127.0.0.1;", "ssl.endpoint.identification.algorithm"],
    );
    Connection::connect(&by_name, &options(trust(authority, false)?))?;
    Ok(())
}

fn authority_file(cluster: &LocalCluster) -> Result<PathBuf, Failed> {
    Ok(cluster.authority_file().ok_or("the cluster has TLS")?.to_path_buf())
}

fn the_wrong_protocol_is_recognised(cluster: &Arc<LocalCluster>) -> TestResult {
    let Security { tls, login } = cluster.security().clone();
    let text = refusal(cluster, Security::default())?;
    assert_says(&text, &["TLS", "security.protocol"]);
    let text = refusal(cluster, Security { tls: None, login })?;
    assert_says(&text, &["TLS", "security.protocol"]);
    let text = refusal(cluster, Security { tls, login: None })?;
    assert_says(&text, &["SASL", "security.protocol"]);
    // The quorum's listener has neither.
    let controller =
        cluster.nodes().iter().find_map(|node| node.node.controller_port).ok_or("a controller")?;
    let addr = format!("127.0.0.1:{controller}");
    let text = refusal_at(&addr, cluster.security().clone())?;
    assert_says(&text, &["TLS handshake", "security.protocol"]);
    let text = refusal_at(&addr, Security { tls: None, ..cluster.security().clone() })?;
    assert_says(&text, &["PLAIN", &addr]);
    Ok(())
}

fn a_missing_permission_is_named(cluster: &Arc<LocalCluster>) -> TestResult {
    let nobody = make_user(cluster, "nobody", ScramHash::Sha256)?;
    Topic::create(cluster, "locked", 1, &[])?;
    let mut connection = Connection::connect(&cluster.bootstrap()[0], &options(nobody.clone()))?;
    let new =
        NewTopic { name: "wanted".to_owned(), partitions: 1, replication_factor: 1, config: BTreeMap::new() };
    let limit = Duration::from_secs(10);
    let topics = ["locked"];
    for (denied, permission) in [
        (connection.create_topic(&new, limit).err(), "Create on topic wanted"),
        (connection.delete_topic("locked", limit).err(), "Delete on topic locked"),
        (connection.quorum().err(), "Describe on the cluster"),
        (connection.topic_operations("locked").err(), "Describe on topic locked"),
        (connection.elect_preferred_leaders("locked", &[0], limit).err(), "Alter on the cluster"),
        (connection.init_producer_id().err(), "IdempotentWrite on the cluster"),
    ] {
        let text = denied.ok_or(permission)?.to_string();
        assert_says(&text, &["User:nobody lacks", permission, "AUTHORIZATION_FAILED", "grant it"]);
    }
    let begun = Instant::now();
    let waited =
        gauntlet_wire::admin::wait_for_leaders(&cluster.bootstrap(), topics[0], &options(nobody), LIMIT);
    assert_says(&waited.err().ok_or("it may see the topic")?.to_string(), &["Describe on topic locked"]);
    assert!(begun.elapsed() < LIMIT, "what is forbidden is not waited for");

    grant(cluster, "nobody", &[Permission::on_topic(Operation::Write, "locked")])?;
    let allowed = connection.topic_operations("locked")?.ok_or("Kafka says what is allowed")?;
    assert_eq!(allowed, [Operation::Write, Operation::Describe], "Describe comes with Write");
    Ok(())
}

/// Three sessions long; the brokers end every connection that does not log in again.
fn sessions_are_renewed_under_load(cluster: &Arc<LocalCluster>) -> TestResult {
    const PARTITIONS: usize = 6;
    let topic = Topic::create(cluster, "renewed", PARTITIONS, &[])?;
    cluster.grant(&on_topics("renewed", &[Operation::Read, Operation::Write]), LIMIT)?;
    // A batch every 40 ms on each partition: there is always something under way when a session ends.
    let batch =
        |i: u32| PlannedBatch { due: Duration::from_millis(40) * i, records: 50, value_bytes: VALUE_BYTES };
    let batches = (3 * SESSION).as_millis() as u32 / 40;
    let plan = vec![(0..batches).map(batch).collect(); PARTITIONS];
    let records = u64::from(batches) * 50 * PARTITIONS as u64;
    let mut config = config(cluster.bootstrap(), &topic);
    config.links.security = cluster.security().clone();
    let produced = produce(config, plan, &Arc::new(AtomicU64::new(0)))?;
    report(&format!(
        "renewed sessions: {records} records, acked in {:?}, {:?}",
        produced.acking, produced.stats
    ));
    assert!(produced.acking > 2 * SESSION, "the load outlived its sessions");
    assert!(produced.stats.disconnects.is_empty(), "{:?}", produced.stats);
    assert_eq!((produced.stats.retries, produced.incarnation_max), (0, 0));
    judge(cluster, &topic, &produced)?.expect_all_acked(records)
}

fn a_connection_at_rest_outlives_its_session(cluster: &Arc<LocalCluster>) -> TestResult {
    let mut connection = Connection::connect(&cluster.bootstrap()[0], &cluster.operator())?;
    connection.metadata(Some(&[]))?;
    // Not a wait for a state: that time passes is what is tested.
    std::thread::sleep(SESSION + Duration::from_millis(500));
    connection.metadata(Some(&[]))?;
    Ok(())
}
