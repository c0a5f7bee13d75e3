//! Connections of which not everybody knows that they are lost (RFC 9293, 3.5.1).

use std::io::{self, Read};
use std::net::Shutdown;

use super::connection::Side;

/// Who still takes a lost connection for one: what it sends gets nowhere, and it hears nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    near: bool,
    far: bool,
}

impl Left {
    /// Who is left of a connection. `known` is who was so far; `lost` says of what the near side and of what the far side sends whether it
    /// gets nowhere. If it is lost only now, whoever is not left of it sees it end.
    pub(super) fn of<'a>(
        known: &'a mut Option<Left>,
        lost: [bool; 2],
        near: &Side,
        far: &Side,
    ) -> Option<&'a mut Left> {
        if known.is_none() && lost != [false, false] {
            let left = Left { near: lost[0], far: lost[1] };
            for (is_left, side) in [(left.near, near), (left.far, far)] {
                if !is_left {
                    // Fails only if it has ended already.
                    let _ = side.stream.shutdown(Shutdown::Both);
                }
            }
            *known = Some(left);
        }
        known.as_mut()
    }

    /// Takes what they send; gives whether one of them still is there.
    pub(super) fn swallow(&mut self, near: &mut Side, far: &mut Side, buffer: &mut [u8]) -> bool {
        self.near = self.near && is_there(near, buffer);
        self.far = self.far && is_there(far, buffer);
        self.near || self.far
    }
}

/// Reads all that there is; gives whether its sender has not ended.
fn is_there(side: &mut Side, buffer: &mut [u8]) -> bool {
    while side.readable {
        match side.stream.read(buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => side.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}
