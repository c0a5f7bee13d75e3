//! A certificate authority for one cluster.

use gauntlet_wire::security::{ClientIdentity, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, Error,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

/// The only name that brokers listen by. `localhost` is left out on purpose: it may be another address.
const HOST: &str = "127.0.0.1";

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

    /// A key with a certificate for `CN=name`; one of a server is also for [`HOST`]. Brokers are each other's clients.
    pub(super) fn issue(&self, name: &str, server: bool) -> Result<ClientIdentity, Error> {
        let hosts = if server { vec![HOST.to_owned()] } else { Vec::new() };
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name = named(name);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        if server {
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
