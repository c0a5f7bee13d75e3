//! A socket, or TLS over one. Works the same over blocking and non-blocking sockets: where a non-blocking one has nothing
//! to give or no room, `WouldBlock` is passed on.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::ClientConnection;

use super::Security;
use super::tls::{self, TlsFailure};

/// Bytes read from the socket at once under TLS. rustls alone would ask for 4 KiB at a time.
const CIPHERTEXT_BYTES: usize = 128 << 10;
/// Plaintext and ciphertext that rustls may keep for us while the socket has no room.
const TLS_BUFFER_BYTES: usize = 256 << 10;

/// Where bytes go and come from.
pub(crate) enum Transport<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

impl<S> std::fmt::Debug for Transport<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Plain(_) => "Plain",
            Transport::Tls(_) => "Tls",
        })
    }
}

impl<S: Read + Write> Transport<S> {
    /// Over a socket to `addr` (`host:port`). Nothing is said yet: the handshake is part of the first writes and
    /// reads. What is said before the first read must be small (a greeting is), as it is kept until the handshake is over.
    pub(crate) fn over(socket: S, security: &Security, addr: &str) -> Result<Self, TlsFailure> {
        let Some(tls) = &security.tls else { return Ok(Transport::Plain(socket)) };
        let connection = ClientConnection::new(tls.config(), tls::server_name(addr)?);
        let mut connection = connection.map_err(|e| tls::explain(&e))?;
        connection.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        Ok(Transport::Tls(Box::new(TlsStream {
            connection,
            socket,
            ciphertext: vec![0; CIPHERTEXT_BYTES],
            unread: 0..0,
        })))
    }

    pub(crate) fn socket(&self) -> &S {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => &stream.socket,
        }
    }

    pub(crate) fn socket_mut(&mut self) -> &mut S {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => &mut stream.socket,
        }
    }

    /// Whether the TLS handshake is still to be completed.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self, Transport::Tls(stream) if stream.connection.is_handshaking())
    }

    /// Whether a read that does not fill its buffer tells that the socket is empty.
    pub(crate) fn short_read_empties(&self) -> bool {
        matches!(self, Transport::Plain(_))
    }
}

impl<S: Read + Write> Read for Transport<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.read(buffer),
            Transport::Tls(stream) => stream.read(buffer),
        }
    }
}

impl<S: Read + Write> Write for Transport<S> {
    /// Under TLS, what was taken is with rustls, and with the kernel as far as that had room; [`Write::flush`] sends the
    /// rest.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.write(bytes),
            Transport::Tls(stream) => stream.write(bytes),
        }
    }

    /// Under TLS, of the first that is not empty.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.write_vectored(pieces),
            Transport::Tls(stream) => match pieces.iter().find(|piece| !piece.is_empty()) {
                Some(piece) => stream.write(piece),
                None => Ok(0),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(_) => Ok(()),
            Transport::Tls(stream) => stream.send(),
        }
    }
}

pub(crate) struct TlsStream<S> {
    connection: ClientConnection,
    socket: S,
    ciphertext: Vec<u8>,
    /// What of `ciphertext` was read from the socket and not yet given to rustls.
    unread: std::ops::Range<usize>,
}

impl<S: Read + Write> TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.connection.writer().write(bytes)?;
        let sent = self.send();
        match sent {
            // It is taken, whatever became of it: the error comes again with the next call.
            _ if taken > 0 => Ok(taken),
            Ok(()) if bytes.is_empty() => Ok(0),
            Ok(()) => self.connection.writer().write(bytes).and_then(|taken| match taken {
                // Before the handshake is over, only so much is kept.
                0 => Err(ErrorKind::WouldBlock.into()),
                taken => Ok(taken),
            }),
            Err(error) => Err(error),
        }
    }

    /// Sends what rustls has to send.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The end without TLS's farewell is an end like any other: frames have lengths, so nothing can be cut
                // off unnoticed.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if self.unread.is_empty() {
                // The other side may be waiting for what we still have to say.
                self.send_what_fits()?;
                let read = self.socket.read(&mut self.ciphertext)?;
                self.unread = 0..read;
                if read == 0 {
                    if self.connection.is_handshaking() {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    self.connection.read_tls(&mut io::empty())?;
                    continue;
                }
            }
            let mut rest = &self.ciphertext[self.unread.clone()];
            self.unread.start += self.connection.read_tls(&mut rest)?;
            if let Err(error) = self.connection.process_new_packets() {
                // An alert tells the other side why; whether it arrives changes nothing for us.
                let _ = self.send();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
            self.send_what_fits()?;
        }
    }

    fn send_what_fits(&mut self) -> io::Result<()> {
        match self.send() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
