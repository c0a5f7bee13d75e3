//! Everything that a program is configured by, under the names of Kafka's Java client (ProducerConfig, ConsumerConfig,
//! CommonClientConfigs, SslConfigs, SaslConfigs; 4.x): complete, so that no default of another client gets in between.

use std::collections::BTreeMap;

use gauntlet_wire::Security;
use gauntlet_wire::security::{Credentials, Trust};
use serde::Serialize;

use crate::scenario::types::{
    Acks, Compression, ConsumerConfig, Consumers, IsolationLevel, ProducerConfig, Producers,
};
use crate::units::Duration;

/// Properties by name.
pub type Settings = BTreeMap<String, String>;

fn ms(duration: Duration) -> u64 {
    duration.as_ns() / 1_000_000
}

fn named<const N: usize>(all: [(&str, String); N]) -> Settings {
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Those of a block of producers, without what only a run knows: brokers, `client.id`, security.
#[must_use]
pub fn producer(block: &Producers) -> Settings {
    let config: &ProducerConfig = &block.config;
    let acks = match config.acks {
        Acks::All => "all",
        Acks::Leader => "1",
        Acks::None => "0",
    };
    let compression = match config.compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    let mut all = named([
        ("acks", acks.to_owned()),
        ("batch.size", config.batch_size_bytes.to_string()),
        ("buffer.memory", config.buffer_memory_bytes.to_string()),
        ("compression.type", compression.to_owned()),
        ("delivery.timeout.ms", ms(config.delivery_timeout).to_string()),
        ("enable.idempotence", config.enable_idempotence.to_string()),
        ("linger.ms", ms(config.linger).to_string()),
        ("max.in.flight.requests.per.connection", config.max_in_flight.to_string()),
        ("max.request.size", config.max_request_size_bytes.to_string()),
        ("metadata.max.age.ms", ms(config.metadata_max_age).to_string()),
        ("reconnect.backoff.max.ms", ms(config.reconnect_backoff_max).to_string()),
        ("reconnect.backoff.ms", ms(config.reconnect_backoff).to_string()),
        ("request.timeout.ms", ms(config.request_timeout).to_string()),
        ("retries", config.retries.to_string()),
        ("retry.backoff.max.ms", ms(config.retry_backoff_max).to_string()),
        ("retry.backoff.ms", ms(config.retry_backoff).to_string()),
        ("socket.connection.setup.timeout.ms", ms(config.connection_setup_timeout).to_string()),
    ]);
    all.extend(block.external.clone());
    all
}

/// The same of a block of consumers.
#[must_use]
pub fn consumer(block: &Consumers) -> Settings {
    let config: &ConsumerConfig = &block.config;
    let level = match config.isolation_level {
        IsolationLevel::ReadUncommitted => "read_uncommitted",
        IsolationLevel::ReadCommitted => "read_committed",
    };
    let mut all = named([
        ("fetch.max.bytes", config.fetch_max_bytes.to_string()),
        ("fetch.max.wait.ms", ms(config.fetch_max_wait).to_string()),
        ("fetch.min.bytes", config.fetch_min_bytes.to_string()),
        ("isolation.level", level.to_owned()),
        ("max.partition.fetch.bytes", config.max_partition_fetch_bytes.to_string()),
        ("metadata.max.age.ms", ms(config.metadata_max_age).to_string()),
        ("request.timeout.ms", ms(config.request_timeout).to_string()),
        ("retry.backoff.ms", ms(config.retry_backoff).to_string()),
    ]);
    all.extend(block.external.clone());
    all
}

/// Name and password, apart, for programs that are not in Java.
#[derive(Clone, Serialize)]
pub struct NameAndPassword {
    /// `username` of the JAAS line.
    pub username: String,
    /// `password` of it.
    pub password: String,
}

/// Adds how to connect. Certificates and keys are PEM texts, not files. Returns name and password, where these are what it
/// logs in with.
pub(super) fn secure(config: &mut Settings, security: &Security) -> Option<NameAndPassword> {
    let mut set = |name: &str, value: &str| {
        config.insert(name.to_owned(), value.to_owned());
    };
    set("security.protocol", security.protocol());
    if let Some(tls) = &security.tls {
        let settings = tls.settings();
        set("ssl.endpoint.identification.algorithm", if settings.verify_host { "https" } else { "" });
        if let Trust::Pem(pem) = &settings.trust {
            set("ssl.truststore.type", "PEM");
            set("ssl.truststore.certificates", pem);
        }
        if let Some(identity) = &settings.identity {
            set("ssl.keystore.type", "PEM");
            set("ssl.keystore.certificate.chain", &identity.chain_pem);
            set("ssl.keystore.key", identity.key_pem.expose());
        }
    }
    let login = security.login.as_ref()?;
    set("sasl.mechanism", login.mechanism());
    // The plan has refused log-ins by token.
    let Credentials::Password { name, password } = login.credentials() else { return None };
    let module = if login.mechanism() == "PLAIN" { "plain.Plain" } else { "scram.Scram" };
    let jaas = format!(
        "org.apache.kafka.common.security.{module}LoginModule required username={} password={};",
        quoted(name),
        quoted(password.expose())
    );
    set("sasl.jaas.config", &jaas);
    Some(NameAndPassword { username: name.to_owned(), password: password.expose().to_owned() })
}

/// A value of a JAAS line (JaasConfig of Kafka's clients: a StreamTokenizer with its escapes).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gauntlet_wire::security::{ClientIdentity, Login, ScramHash, Secret, Tls, TlsSettings};

    use super::*;
    use crate::scenario::{LoadOptions, Scenario};

    fn scenario(workload: &str) -> Scenario {
        let text = format!(
            "version: 1\nname: x\ncluster: {{ bootstrap_servers: \"127.0.0.1:9\" }}\n\
             load: {{ shape: constant, rate: 1/s, duration: 1s }}\nworkload:\n{workload}"
        );
        Scenario::parse("x.yaml", &text, &LoadOptions::default()).unwrap().scenario
    }

    fn lines(settings: &Settings) -> String {
        settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn every_property_is_handed_on() {
        let external = "driver: external, command: [x]";
        let defaults = scenario(&format!("  producers: {{ {external} }}\n  consumers: {{ {external} }}\n"));
        let set = scenario(&format!(
            "  producers: {{ {external}, config: {{ acks: 0, batch.size: 1, buffer.memory: 100000, compression.type: zstd, \
             delivery.timeout.ms: 40000, linger.ms: 20, max.in.flight.requests.per.connection: 9, \
             max.request.size: 2000000, metadata.max.age.ms: 1000, reconnect.backoff.ms: 1, reconnect.backoff.max.ms: 2, \
             request.timeout.ms: 3000, retries: 0, retry.backoff.ms: 4, retry.backoff.max.ms: 5, \
             socket.connection.setup.timeout.ms: 6000, external: {{ max.block.ms: 1, a b: c d }} }} }}\n\
             \x20 consumers: {{ {external}, config: {{ fetch.max.bytes: 1000001, fetch.max.wait.ms: 7, \
             fetch.min.bytes: 8, isolation.level: read_committed, max.partition.fetch.bytes: 9, \
             metadata.max.age.ms: 10, request.timeout.ms: 3000, retry.backoff.ms: 11, external: {{ max.poll.records: 12 }} }} }}\n"
        ));
        let mut text = String::new();
        for (title, scenario) in [("defaults", &defaults), ("all set", &set)] {
            text += &format!("# {title}: producers\n{}", lines(&producer(&scenario.workload.producers[0])));
            text += &format!("# {title}: consumers\n{}", lines(&consumer(&scenario.workload.consumers[0])));
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/external/settings.txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "UPDATE=1 rewrites it");
    }

    #[test]
    fn every_way_to_log_in_has_its_properties() {
        let with = |tls: Option<Tls>, login: Option<Login>| {
            let mut config = Settings::new();
            let password = secure(&mut config, &Security { tls, login: login.map(Arc::new) });
            (config, password)
        };
        let (config, password) = with(None, None);
        assert_eq!(lines(&config), "security.protocol=PLAINTEXT\n");
        assert!(password.is_none());
        let (config, password) =
            with(None, Some(Login::scram(ScramHash::Sha512, "tim", Secret::new("a\"b\\c"))));
        assert_eq!(
            lines(&config),
            "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"tim\" \
             password=\"a\\\"b\\\\c\";\nsasl.mechanism=SCRAM-SHA-512\nsecurity.protocol=SASL_PLAINTEXT\n"
        );
        assert_eq!(password.unwrap().password, "a\"b\\c");
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let identity = Some(ClientIdentity { chain_pem: pem.clone(), key_pem: Secret::new(key.clone()) });
        let tls = Tls::new(&TlsSettings { trust: Trust::Pem(pem.clone()), identity, verify_host: false });
        let (config, _) = with(Some(tls.unwrap()), Some(Login::plain("tim", Secret::new("x"))));
        assert_eq!((&config["ssl.truststore.certificates"], &config["ssl.keystore.key"]), (&pem, &key));
        assert_eq!(config["ssl.endpoint.identification.algorithm"], "");
        assert!(config["sasl.jaas.config"].contains("plain.PlainLoginModule") && config.len() == 9);
    }
}
