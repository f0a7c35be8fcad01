//! Room on the stack for statements that nest deep or are one long chain.
//!
//! The parser, the planner and the syntax tree's own destructor call themselves once for each level
//! of a tree, and a chain of a thousand `OR`s is a thousand levels. A runtime's threads have 2 MiB.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Fewer bytes left than this, and a new stack is made.
const LEFT_BYTES_MIN: usize = 16 * 1_024 * 1_024;
/// The new stack; pages that are not touched cost nothing.
const STACK_BYTES: usize = 128 * 1_024 * 1_024;
/// A statement with fewer bytes than this cannot need it.
const TEXT_BYTES_MIN: usize = 200;

/// Whether a statement may need room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Shallow,
    Deep,
}

impl Depth {
    pub(crate) fn of(sql: &str) -> Self {
        if sql.len() < TEXT_BYTES_MIN {
            Self::Shallow
        } else {
            Self::Deep
        }
    }

    /// Calls `f` with room on the stack.
    pub(crate) fn call<T>(self, f: impl FnOnce() -> T) -> T {
        match self {
            Self::Shallow => f(),
            Self::Deep => stacker::maybe_grow(LEFT_BYTES_MIN, STACK_BYTES, f),
        }
    }

    /// A future that is polled with room on the stack.
    pub(crate) fn run<F: Future>(self, future: F) -> WithRoom<F> {
        WithRoom {
            depth: self,
            future: Box::pin(future),
        }
    }
}

/// See [`Depth::run`].
pub(crate) struct WithRoom<F> {
    depth: Depth,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for WithRoom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let depth = self.depth;
        depth.call(|| self.future.as_mut().poll(cx))
    }
}
