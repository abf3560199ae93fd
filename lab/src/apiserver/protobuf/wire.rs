//! The wire format of protocol buffers: tags, numbers, length-delimited fields. Knows nothing of what
//! the fields mean.

/// A field's value as it comes over the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire<'a> {
    Number(u64),
    /// Eight bytes: a double, or a fixed number.
    Wide([u8; 8]),
    Bytes(&'a [u8]),
    /// Four bytes: no field of Kubernetes is one.
    Narrow,
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

/// A message as its fields, in order; `None` when it ends too early.
pub(super) fn split(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => Wire::Wide(take(&mut bytes, 8)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            5 => take(&mut bytes, 4).map(|_| Wire::Narrow)?,
            _ => return None,
        };
        found.push((tag >> 3, wire));
    }
    Some(found)
}

/// A message being written.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or_default());
    }
    pub fn number(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }
    pub fn double(&mut self, field: u64, value: f64) -> &mut Self {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }
    pub fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
    pub fn text(&mut self, field: u64, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }
    pub fn message(&mut self, field: u64, message: &Self) -> &mut Self {
        self.bytes(field, &message.0)
    }
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut inner = Writer::default();
        inner.text(1, "a").number(2, 300);
        let mut outer = Writer::default();
        outer.message(21, &inner).double(3, 1.5);
        let bytes = outer.into_bytes();
        let fields = split(&bytes).unwrap();
        assert_eq!(fields[1], (3, Wire::Wide(1.5_f64.to_le_bytes())));
        let (21, Wire::Bytes(inner)) = fields[0] else { panic!("{fields:?}") };
        assert_eq!(split(inner).unwrap(), [(1, Wire::Bytes(b"a")), (2, Wire::Number(300))]);
        assert_eq!(split(&bytes[..3]), None);
    }
}
