//! Where a frame goes, from its path and from who sent it. Pure: no map, no clock, no counter.

use super::drop_reason::DropReason;
use crate::ids::ClientId;
use crate::wire::path::Path;

/// The way of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the platform itself.
    Control,
    /// To another client.
    Client(ClientId),
    /// Nowhere.
    Drop(DropReason),
}

/// Routes a frame that `origin`, the authenticated client, sent with `path`.
#[inline]
pub fn route(path: &Path, origin: ClientId) -> Route {
    if path.source != origin {
        Route::Drop(DropReason::Spoofed)
    } else if path.has_stream {
        Route::Drop(DropReason::Stream)
    } else if path.destination.is_control() {
        Route::Control
    } else if path.destination == origin {
        Route::Drop(DropReason::ToSelf)
    } else {
        Route::Client(path.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_way() {
        let (me, you, nobody) = (ClientId::new([1; 16]), ClientId::new([2; 16]), ClientId::CONTROL);
        let table = [
            (me, you, false, Route::Client(you)),
            (me, nobody, false, Route::Control),
            (me, me, false, Route::Drop(DropReason::ToSelf)),
            (you, me, false, Route::Drop(DropReason::Spoofed)),
            (nobody, you, false, Route::Drop(DropReason::Spoofed)),
            (nobody, nobody, false, Route::Drop(DropReason::Spoofed)),
            (me, you, true, Route::Drop(DropReason::Stream)),
            (me, nobody, true, Route::Drop(DropReason::Stream)),
            (you, you, true, Route::Drop(DropReason::Spoofed)),
        ];
        for (source, destination, has_stream, expected) in table {
            assert_eq!(route(&Path { source, destination, has_stream }, me), expected);
        }
    }
}
