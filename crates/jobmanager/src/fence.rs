//! The door of a fenced endpoint: only messages under its own token come in.
//!
//! A sender that believes in another leader must not be obeyed, and must learn of it if it asks.
//! What was let in is remembered for the check after the step, which compares it on its own: a
//! door that forgets to look is noticed by the next check.

use crate::mutant;
use millstream_core::ids::FencingToken;
use millstream_rpc::protocol::Refusal;

/// The door of one endpoint in one term of leadership.
#[derive(Debug)]
pub(crate) struct Fence {
    /// The term; an endpoint that loses leadership is replaced, its token never changes.
    token: FencingToken,
    /// The token of the message that came in last.
    admitted: Option<FencingToken>,
    /// Messages that were not let in.
    refused: u64,
}

impl Fence {
    pub(crate) fn new(token: FencingToken) -> Self {
        Self { token, admitted: None, refused: 0 }
    }

    pub(crate) fn token(&self) -> FencingToken {
        self.token
    }

    /// How many messages were not let in.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Lets a message in, or says why not. `mutant` leaves the door open.
    pub(crate) fn admit(
        &mut self,
        found: Option<FencingToken>,
        mutant: &'static str,
    ) -> Result<(), Refusal> {
        if found != Some(self.token) && !mutant::on(mutant) {
            self.refused += 1;
            return Err(Refusal::Fenced { expected: Some(self.token), found });
        }
        // Nothing but our own token may be written here.
        self.admitted = Some(found.unwrap_or(FencingToken(!self.token.0)));
        Ok(())
    }

    /// Checks that only our own token came in; a violation panics.
    pub(crate) fn check(&self) {
        if let Some(admitted) = self.admitted {
            assert_eq!(admitted, self.token, "a message of another term came in");
        }
    }
}
