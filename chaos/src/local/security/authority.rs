//! A certificate authority for one cluster.

use std::net::Ipv4Addr;

use gauntlet_wire::security::{ClientIdentity, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, Error,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

/// Vouches for brokers and clients.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub(super) fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = named("gauntlet local cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate.
    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A key with a certificate for `CN=name`; one of a server is also for `hosts`, the only names that brokers listen by. `localhost` is
    /// none on purpose: it may be another address. Brokers are each other's clients.
    pub(super) fn issue(&self, name: &str, hosts: &[Ipv4Addr]) -> Result<ClientIdentity, Error> {
        let names: Vec<String> = hosts.iter().map(Ipv4Addr::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named(name);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        if !hosts.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(ClientIdentity { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
