//! The control socket: a Unix socket file in the cluster's directory.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::SupervisorError;
use super::protocol::{Reply, Request};

const FILE_NAME: &str = "control.sock";
/// Longest request or reply. A `start` is a few KiB, a list of 50 nodes about 6 KiB.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a supervisor is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlSocket {
    dir: PathBuf,
}

impl ControlSocket {
    /// The socket of the supervisor whose state lies in `dir`.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// The socket's path, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }

    /// Binds it; only the owner may connect.
    pub(super) fn bind(&self) -> io::Result<UnixListener> {
        let path = self.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let dir = File::open(&self.dir)?;
        let listener = UnixListener::bind(short_path(&dir))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Sends one request and waits for its answer, at most `limit`.
    pub(crate) fn request(&self, request: &Request, limit: Duration) -> Result<Reply, SupervisorError> {
        let talk = || -> io::Result<Reply> {
            let dir = File::open(&self.dir)?;
            let mut stream = UnixStream::connect(short_path(&dir))?;
            stream.set_read_timeout(Some(limit))?;
            stream.set_write_timeout(Some(limit))?;
            write_line(&mut stream, request)?;
            let reply = read_line(&mut BufReader::new(stream))?;
            reply.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it closed without an answer"))
        };
        talk().map_err(|source| SupervisorError::Unreachable { socket: self.path(), source })
    }
}

/// A Unix socket's path may have at most 107 bytes (unix(7)), which a run directory easily exceeds. Through the open
/// directory it is always short.
fn short_path(dir: &File) -> String {
    format!("/proc/self/fd/{}/{FILE_NAME}", dir.as_raw_fd())
}

/// Writes one message and its line end in one go.
pub(super) fn write_line<T: serde::Serialize>(stream: &mut UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads one message; `None` at the end of the stream.
pub(super) fn read_line<T: serde::de::DeserializeOwned>(
    stream: &mut BufReader<UnixStream>,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_directory_is_no_obstacle() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&dir).unwrap();
        let socket = ControlSocket::in_dir(&dir);
        let listener = socket.bind().unwrap();
        let mode = fs::metadata(socket.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let request: Request = read_line(&mut reader).unwrap().unwrap();
            write_line(&mut { stream }, &Reply::Failed { message: format!("{request:?}") }).unwrap();
        });
        let reply = socket.request(&Request::List, Duration::from_secs(10)).unwrap();
        assert_eq!(reply, Reply::Failed { message: "List".to_owned() });
        server.join().unwrap();
    }

    #[test]
    fn nobody_listening_names_the_socket() {
        let base = tempfile::tempdir().unwrap();
        let error =
            ControlSocket::in_dir(base.path()).request(&Request::List, Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("control.sock"), "{error}");
    }
}
