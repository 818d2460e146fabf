//! Knows what messages are made of: bodies of a size, and frames that count on.
//! Never: how a server wants them written.

/// Where the number of a message stands in a frame. It begins with a one, and so is a number in JSON too.
pub(crate) const NUMBER: &str = "1000000000";

/// What a body looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// One long string.
    Text,
    /// An array of numbers.
    Numbers,
    /// An array of objects with objects in them.
    Objects,
}

/// A body of some size; the quotes that JSON has around a string do not count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) form: Form,
    pub(crate) bytes: usize,
}

impl Body {
    pub(crate) fn text(bytes: usize) -> Body {
        Body { form: Form::Text, bytes }
    }

    /// For servers to which it is just bytes.
    pub(crate) fn plain(self, from: &str) -> String {
        let (begin, part, end) = match self.form {
            Form::Text => (format!("{from:-<6}{NUMBER}"), "telex ", ""),
            Form::Numbers => (format!("[{NUMBER}"), ",42,-7.25,1.5e3,65536", "]"),
            Form::Objects => {
                (format!("[{{\"n\":{NUMBER}}}"), r#",{"id":7,"ok":true,"at":{"x":1,"y":[2,3]}}"#, "]")
            }
        };
        let room = self.bytes - begin.len() - end.len();
        let parts = part.repeat(room / part.len());
        format!("{begin}{parts:room$}{end}")
    }

    /// For servers to which it is JSON.
    pub(crate) fn json(self, from: &str) -> String {
        match self.form {
            Form::Text => format!("\"{}\"", self.plain(from)),
            Form::Numbers | Form::Objects => self.plain(from),
        }
    }
}

/// A message as it stands on the wire, with its number in it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// Where its number begins: in the body, and wherever else the server wants one.
    places: Vec<usize>,
}

impl Frame {
    pub(crate) fn new(bytes: Vec<u8>) -> Frame {
        let is_number = |at: &usize| bytes[*at..].starts_with(NUMBER.as_bytes());
        let places: Vec<_> = (0..bytes.len()).filter(is_number).collect();
        assert!(!places.is_empty(), "a frame without its number");
        Frame { bytes, places }
    }

    /// Makes it the next message.
    pub(crate) fn advance(&mut self) {
        for &place in &self.places {
            for digit in self.bytes[place..place + NUMBER.len()].iter_mut().rev() {
                if *digit < b'9' {
                    *digit += 1;
                    break;
                }
                *digit = b'0';
            }
        }
    }
}
