//! SCRAM (RFC 5802) with SHA-256 (RFC 7677) and SHA-512, the client's side. Pure: the nonce is a parameter.
//!
//! Channel binding is `n`: Kafka's brokers offer none. Names and passwords are taken as their UTF-8 bytes, without
//! SASLprep, because that is what Kafka's brokers do.

use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

use super::secret::Secret;

/// RFC 7677, section 4: the least that a server may announce. A lower count would make the password cheap to guess from a
/// recorded exchange.
pub(crate) const ITERATIONS_MIN: u32 = 4096;
/// Kafka's brokers refuse to store more than 16,384. The bound keeps a peer from making us compute for minutes.
const ITERATIONS_MAX: u32 = 1_000_000;

/// The hash function of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramHash {
    /// Name of the mechanism.
    #[must_use]
    pub fn mechanism(self) -> &'static str {
        match self {
            ScramHash::Sha256 => "SCRAM-SHA-256",
            ScramHash::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            ScramHash::Sha256 => Sha256::digest(data).to_vec(),
            ScramHash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn mac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            ScramHash::Sha256 => mac::<Hmac<Sha256>>(key, data),
            ScramHash::Sha512 => mac::<Hmac<Sha512>>(key, data),
        }
    }

    /// `Hi` of RFC 5802, section 2.2: PBKDF2.
    pub(crate) fn salted_password(self, password: &Secret, salt: &[u8], iterations: u32) -> Vec<u8> {
        let password = password.expose().as_bytes();
        match self {
            ScramHash::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec(),
            ScramHash::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec(),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// What is wrong with what the server said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScramError {
    #[error("its SCRAM message cannot be read: {0}")]
    Malformed(&'static str),
    #[error("it does not repeat our nonce: this is not the answer to our message")]
    Nonce,
    #[error(
        "it asks for {0} iterations; at least {ITERATIONS_MIN} are safe (RFC 7677), and at most {ITERATIONS_MAX} are computed"
    )]
    Iterations(u32),
    #[error("it refuses: {0}")]
    Refused(String),
    #[error("its signature is wrong: it does not know the password, so it is not the broker it claims to be")]
    Signature,
}

/// Name and password, and the last salted password that was computed of them. It depends on salt and iteration count only
/// (RFC 5802, section 3, recommends to keep it), takes milliseconds to compute, and is needed for every connection.
#[derive(Debug)]
pub(crate) struct ScramUser {
    pub(crate) hash: ScramHash,
    pub(crate) name: String,
    password: Secret,
    salted: Mutex<Option<Salted>>,
}

#[derive(Clone)]
struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    password: Vec<u8>,
}

impl std::fmt::Debug for Salted {
    /// Without the salted password: whoever has it can log in.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salted").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramUser {
    pub(crate) fn new(hash: ScramHash, name: String, password: Secret) -> Self {
        ScramUser { hash, name, password, salted: Mutex::new(None) }
    }

    /// What it was made with.
    pub(crate) fn password(&self) -> &Secret {
        &self.password
    }

    fn salted_password(&self, salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut kept = self.salted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = kept.as_ref().filter(|k| k.salt == salt && k.iterations == iterations) {
            return known.password.clone();
        }
        let password = self.hash.salted_password(&self.password, salt, iterations);
        *kept = Some(Salted { salt: salt.to_vec(), iterations, password: password.clone() });
        password
    }
}

/// An exchange under way. `first` -> [`ScramExchange::answer`] -> [`ScramExchange::check`].
#[derive(Debug)]
pub(crate) struct ScramExchange {
    nonce: String,
    first_bare: String,
    /// Known once the server's first message was answered.
    server_signature: Vec<u8>,
}

impl ScramExchange {
    /// Begins with a nonce that was never used before, and gives the client's first message.
    pub(crate) fn begin(user: &ScramUser, nonce: String) -> (Self, Vec<u8>) {
        // RFC 5802, section 5.1: these two characters have a meaning of their own.
        let name = user.name.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        let first = format!("n,,{first_bare}").into_bytes();
        (ScramExchange { nonce, first_bare, server_signature: Vec::new() }, first)
    }

    /// The client's final message, in answer to the server's first.
    pub(crate) fn answer(&mut self, user: &ScramUser, server_first: &[u8]) -> Result<Vec<u8>, ScramError> {
        let server_first =
            std::str::from_utf8(server_first).map_err(|_| ScramError::Malformed("it is no UTF-8"))?;
        let ServerFirst { nonce, salt, iterations } = ServerFirst::parse(server_first)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramError::Nonce);
        }
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramError::Iterations(iterations));
        }
        // "biws" is "n,,": the header that was sent, as the channel binding of none.
        let final_bare = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{final_bare}", self.first_bare);
        let hash = user.hash;
        let salted = user.salted_password(&salt, iterations);
        let client_key = hash.mac(&salted, b"Client Key");
        let client_signature = hash.mac(&hash.hash(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&client_signature).map(|(a, b)| a ^ b).collect();
        self.server_signature = hash.mac(&hash.mac(&salted, b"Server Key"), signed.as_bytes());
        Ok(format!("{final_bare},p={}", BASE64_STANDARD.encode(proof)).into_bytes())
    }

    /// Whether the server's final message proves that it knows the password too.
    pub(crate) fn check(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = std::str::from_utf8(server_final).map_err(|_| ScramError::Malformed("it is no UTF-8"))?;
        if let Some(error) = attribute(text, 'e') {
            return Err(ScramError::Refused(error.to_owned()));
        }
        let signature = attribute(text, 'v').ok_or(ScramError::Malformed("it has no verifier"))?;
        let signature = BASE64_STANDARD
            .decode(signature)
            .map_err(|_| ScramError::Malformed("its verifier is no base64"))?;
        // No secret can leak by the time that this takes: the signature was sent in the clear of this connection.
        if self.server_signature.is_empty() || signature != self.server_signature {
            return Err(ScramError::Signature);
        }
        Ok(())
    }
}

struct ServerFirst<'t> {
    nonce: &'t str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'t> ServerFirst<'t> {
    fn parse(text: &'t str) -> Result<Self, ScramError> {
        if let Some(error) = attribute(text, 'e') {
            return Err(ScramError::Refused(error.to_owned()));
        }
        // RFC 5802, section 5.1: an unknown mandatory extension must end the exchange.
        if attribute(text, 'm').is_some() {
            return Err(ScramError::Malformed("it demands an extension"));
        }
        let nonce = attribute(text, 'r').ok_or(ScramError::Malformed("it has no nonce"))?;
        let salt = attribute(text, 's').ok_or(ScramError::Malformed("it has no salt"))?;
        let salt =
            BASE64_STANDARD.decode(salt).map_err(|_| ScramError::Malformed("its salt is no base64"))?;
        let iterations = attribute(text, 'i').and_then(|i| i.parse().ok());
        let iterations = iterations.ok_or(ScramError::Malformed("it has no iteration count"))?;
        Ok(ServerFirst { nonce, salt, iterations })
    }
}

/// The value of `name=value` among the comma-separated attributes.
fn attribute(text: &str, name: char) -> Option<&str> {
    text.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn pencil() -> ScramUser {
        ScramUser::new(ScramHash::Sha256, "user".to_owned(), Secret::new("pencil"))
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_rfc_7677() {
        let user = pencil();
        let (mut exchange, first) = ScramExchange::begin(&user, NONCE.to_owned());
        assert_eq!(first, format!("n,,n=user,r={NONCE}").as_bytes());
        let answer = exchange.answer(&user, SERVER_FIRST.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(exchange.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert_eq!(
            exchange.check(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
            Err(ScramError::Signature)
        );
        assert_eq!(exchange.check(b"e=invalid-proof"), Err(ScramError::Refused("invalid-proof".to_owned())));
    }

    #[test]
    fn a_server_that_cheats_is_refused() {
        let user = pencil();
        let answer = |server_first: &str| {
            ScramExchange::begin(&user, NONCE.to_owned())
                .0
                .answer(&user, server_first.as_bytes())
                .unwrap_err()
        };
        assert_eq!(answer("r=other,s=AAAA,i=4096"), ScramError::Nonce);
        assert_eq!(answer(&format!("r={NONCE},s=AAAA,i=4096")), ScramError::Nonce, "it must add its own");
        assert_eq!(answer(&format!("r={NONCE}x,s=AAAA,i=4095")), ScramError::Iterations(4095));
        assert_eq!(answer(&format!("r={NONCE}x,s=AAAA,i=4000000000")), ScramError::Iterations(4_000_000_000));
        assert!(matches!(answer(&format!("m=x,r={NONCE}x,s=AAAA,i=4096")), ScramError::Malformed(_)));
        assert!(matches!(answer(&format!("r={NONCE}x,s=*,i=4096")), ScramError::Malformed(_)));
    }

    #[test]
    fn a_final_message_before_the_first_proves_nothing() {
        let (exchange, _) = ScramExchange::begin(&pencil(), NONCE.to_owned());
        assert_eq!(exchange.check(b"v="), Err(ScramError::Signature));
    }

    #[test]
    fn names_are_escaped() {
        let user = ScramUser::new(ScramHash::Sha512, "a=b,c".to_owned(), Secret::new("x"));
        let (_, first) = ScramExchange::begin(&user, "n".to_owned());
        assert_eq!(first, b"n,,n=a=3Db=2Cc,r=n");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let user = pencil();
        let (mut exchange, _) = ScramExchange::begin(&user, NONCE.to_owned());
        exchange.answer(&user, SERVER_FIRST.as_bytes()).unwrap();
        assert!(!format!("{user:?}").contains("pencil"));
        assert!(format!("{user:?}").contains("iterations"));
    }

    /// The server's half, from what Kafka stores of a password (RFC 5802, section 3).
    fn serve(
        hash: ScramHash,
        password: &str,
        salt: &[u8],
        client_first: &str,
        client_final: &str,
        nonce: &str,
    ) -> String {
        let salted = hash.salted_password(&Secret::new(password), salt, ITERATIONS_MIN);
        let server_first = format!("r={nonce},s={},i={ITERATIONS_MIN}", BASE64_STANDARD.encode(salt));
        let (bare, proof) = client_final.rsplit_once(",p=").unwrap();
        let signed = format!("{},{server_first},{bare}", &client_first[3..]);
        let stored_key = hash.hash(&hash.mac(&salted, b"Client Key"));
        let signature = hash.mac(&stored_key, signed.as_bytes());
        let proof = BASE64_STANDARD.decode(proof).unwrap();
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if hash.hash(&key) != stored_key {
            return "e=invalid-proof".to_owned();
        }
        format!(
            "v={}",
            BASE64_STANDARD.encode(hash.mac(&hash.mac(&salted, b"Server Key"), signed.as_bytes()))
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Both sides agree exactly if they have the same password, for both hashes and any text.
        #[test]
        fn both_sides_agree_if_the_password_is_the_same(
            password in "\\PC{1,12}", other in "\\PC{1,12}", salt in proptest::collection::vec(any::<u8>(), 1..20),
            long in any::<bool>(),
        ) {
            let hash = if long { ScramHash::Sha512 } else { ScramHash::Sha256 };
            let user = ScramUser::new(hash, "u".to_owned(), Secret::new(password.clone()));
            let (mut exchange, first) = ScramExchange::begin(&user, "abc".to_owned());
            let first = String::from_utf8(first).unwrap();
            let server_first = format!("r=abcdef,s={},i={ITERATIONS_MIN}", BASE64_STANDARD.encode(&salt));
            let answer = String::from_utf8(exchange.answer(&user, server_first.as_bytes()).unwrap()).unwrap();
            let verdict = serve(hash, &password, &salt, &first, &answer, "abcdef");
            prop_assert_eq!(exchange.check(verdict.as_bytes()), Ok(()));
            let wrong = serve(hash, &other, &salt, &first, &answer, "abcdef");
            prop_assert_eq!(exchange.check(wrong.as_bytes()).is_ok(), password == other);
        }
    }
}
