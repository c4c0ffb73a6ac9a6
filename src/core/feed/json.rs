//! A list as JSON: the texts that pointers lead to, found while the document streams by.
//!
//! Responsible for reading a document strictly (RFC 8259) without keeping it: what it can make grow is one text of bounded
//! length, the containers that are open, of which only so many may be, and the networks. Where a pointer leads to a network, its
//! object may have to say something else beside, before or after it.

use super::list::Mark;
use super::{Condition, Fault, Networks, Part, Selection};

/// More containers in each other have no list.
const DEEPEST: usize = 32;
/// Of a longer text nothing can be a key of a pointer, a value of a condition or a network; no more of it is kept.
const LONGEST: usize = 512;

/// A document on its way.
#[derive(Debug)]
pub(super) struct Document {
    selection: Selection,
    /// The containers that are open, the outermost first.
    open: Vec<Container>,
    expecting: Expecting,
    token: Token,
    text: Text,
    /// The bytes that were read.
    read: u64,
}

/// An object or a list.
#[derive(Debug)]
struct Container {
    is_object: bool,
    /// The pointers that lead into it, a bit each.
    leading: u16,
    /// Those of them whose member has come.
    seen: u16,
    /// The pointers that lead on to the value that is being read.
    member: u16,
    /// The entry of a list that is being read.
    index: usize,
    /// Where the networks began, if this is where a condition must hold.
    judged: Option<Mark>,
    /// The conditions whose member has come, and those that hold, a bit each.
    mentioned: u8,
    holding: u8,
    /// The condition whose member is being read.
    condition: Option<usize>,
    /// How deep the list is in which a condition's texts are, if it is one: 0 or 1.
    is_condition_list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expecting {
    Value,
    /// A value, or the end of the list that has just begun.
    FirstValue,
    /// A key, or the end of the object that has just begun.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the container.
    Next,
    /// Blanks.
    Nothing,
}

/// What is in the middle of being read.
#[derive(Debug)]
enum Token {
    None,
    Text,
    /// Behind a backslash.
    Escape,
    /// Behind `\u`: the digits so far, and how many.
    Unicode(u32, u8),
    /// Behind the first half of a surrogate pair; how much of `\u` has come.
    Pair(u32, u8),
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
}

/// Where in a number (RFC 8259 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Number {
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::Sign),
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Some(Self::Power),
            _ => None,
        }
    }

    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Power)
    }
}

/// A text, as far as it is kept.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    is_key: bool,
    is_long: bool,
    /// The first half of a surrogate pair.
    high: u32,
}

impl Text {
    fn push(&mut self, byte: u8) {
        if self.bytes.len() < LONGEST { self.bytes.push(byte) } else { self.is_long = true }
    }

    fn push_character(&mut self, code: u32) -> Option<()> {
        let mut buffer = [0; 4];
        char::from_u32(code)?.encode_utf8(&mut buffer).bytes().for_each(|byte| self.push(byte));
        Some(())
    }

    /// The text; nothing where not all of it was kept.
    fn whole(&self) -> Option<&str> {
        if self.is_long { None } else { std::str::from_utf8(&self.bytes).ok() }
    }
}

/// A value has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Text,
    Object,
    List,
    Other,
}

const fn bit(index: usize) -> u16 {
    if index < 16 { 1 << index } else { 0 }
}

const fn condition_bit(index: usize) -> u8 {
    if index < 8 { 1 << index } else { 0 }
}

impl Document {
    pub(super) fn new(selection: Selection) -> Self {
        let (open, text) = (Vec::with_capacity(DEEPEST), Text::default());
        Self { selection, open, expecting: Expecting::Value, token: Token::None, text, read: 0 }
    }

    /// Reads the next bytes; the networks among them are added.
    pub(super) fn update(&mut self, piece: &[u8], networks: &mut Networks) -> Result<(), Fault> {
        for byte in piece {
            self.byte(*byte, networks)?;
            self.read = self.read.saturating_add(1);
        }
        Ok(())
    }

    /// Ends the document.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        self.end_number()?;
        if self.expecting == Expecting::Nothing && matches!(self.token, Token::None) {
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    const fn wrong(&self) -> Fault {
        Fault::NotJson(self.read)
    }

    fn byte(&mut self, byte: u8, networks: &mut Networks) -> Result<(), Fault> {
        match self.token {
            Token::None => self.between(byte, networks),
            Token::Text => match byte {
                b'"' => {
                    self.token = Token::None;
                    self.end_text(networks)
                }
                b'\\' => {
                    self.token = Token::Escape;
                    Ok(())
                }
                0..0x20 => Err(self.wrong()),
                _ => {
                    self.text.push(byte);
                    Ok(())
                }
            },
            Token::Escape => self.escape(byte),
            Token::Unicode(code, digits) => self.unicode(code, digits, byte),
            Token::Pair(high, came) => match (came, byte) {
                (0, b'\\') => {
                    self.token = Token::Pair(high, 1);
                    Ok(())
                }
                (1, b'u') => {
                    self.text.high = high;
                    self.token = Token::Unicode(0, 0);
                    Ok(())
                }
                _ => Err(self.wrong()),
            },
            Token::Number(number) => match number.next(byte) {
                Some(number) => {
                    self.token = Token::Number(number);
                    Ok(())
                }
                None => {
                    self.end_number()?;
                    self.between(byte, networks)
                }
            },
            Token::Word(rest) => match rest.split_first() {
                Some((wanted, rest)) if *wanted == byte => {
                    self.token = if rest.is_empty() { Token::None } else { Token::Word(rest) };
                    Ok(())
                }
                _ => Err(self.wrong()),
            },
        }
    }

    fn escape(&mut self, byte: u8) -> Result<(), Fault> {
        self.token = Token::Text;
        let meant = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.token = Token::Unicode(0, 0);
                return Ok(());
            }
            _ => return Err(self.wrong()),
        };
        self.text.push(meant);
        Ok(())
    }

    fn unicode(&mut self, code: u32, digits: u8, byte: u8) -> Result<(), Fault> {
        let digit = char::from(byte).to_digit(16).ok_or_else(|| self.wrong())?;
        let code = (code << 4) | digit;
        if digits < 3 {
            self.token = Token::Unicode(code, digits.saturating_add(1));
            return Ok(());
        }
        self.token = Token::Text;
        let high = std::mem::take(&mut self.text.high);
        let code = match (high, code) {
            (0, 0xd800..=0xdbff) => {
                self.token = Token::Pair(code, 0);
                return Ok(());
            }
            (0, _) => code,
            // Two halves of ten bits each (RFC 8259 7).
            (_, 0xdc00..=0xdfff) => (((high & 0x3ff) << 10) | (code & 0x3ff)).saturating_add(0x1_0000),
            _ => return Err(self.wrong()),
        };
        self.text.push_character(code).ok_or_else(|| self.wrong())
    }

    fn end_number(&mut self) -> Result<(), Fault> {
        if let Token::Number(number) = self.token {
            if !number.may_end() {
                return Err(self.wrong());
            }
            self.token = Token::None;
        }
        Ok(())
    }

    /// A byte outside of texts, numbers and words.
    fn between(&mut self, byte: u8, networks: &mut Networks) -> Result<(), Fault> {
        use Expecting::{Colon, FirstKey, FirstValue, Key, Next, Value as AValue};
        match (self.expecting, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            (FirstKey | Key, b'"') => {
                self.begin_text(true);
                Ok(())
            }
            (Colon, b':') => {
                self.expecting = AValue;
                Ok(())
            }
            (FirstKey, b'}') | (FirstValue, b']') => self.leave(byte, networks),
            (Next, b'}' | b']') => self.leave(byte, networks),
            (Next, b',') => {
                let Some(container) = self.open.last_mut() else { return Err(self.wrong()) };
                container.index = container.index.saturating_add(1);
                self.expecting = if container.is_object { Key } else { AValue };
                Ok(())
            }
            (AValue | FirstValue, _) => self.value(byte, networks),
            _ => Err(self.wrong()),
        }
    }

    fn begin_text(&mut self, is_key: bool) {
        self.text.bytes.clear();
        (self.text.is_key, self.text.is_long) = (is_key, false);
        self.token = Token::Text;
    }

    /// A value begins.
    fn value(&mut self, byte: u8, networks: &Networks) -> Result<(), Fault> {
        let (token, value) = match byte {
            b'"' => (Token::Text, Value::Text),
            b'{' => (Token::None, Value::Object),
            b'[' => (Token::None, Value::List),
            b'-' => (Token::Number(Number::Minus), Value::Other),
            b'0' => (Token::Number(Number::Zero), Value::Other),
            b'1'..=b'9' => (Token::Number(Number::Integer), Value::Other),
            b't' => (Token::Word(b"rue"), Value::Other),
            b'f' => (Token::Word(b"alse"), Value::Other),
            b'n' => (Token::Word(b"ull"), Value::Other),
            _ => return Err(self.wrong()),
        };
        let leading = self.leading();
        if value != Value::Text && leading & self.ending_at(self.open.len()) != 0 {
            return Err(Fault::NoText);
        }
        match value {
            Value::Text => self.begin_text(false),
            Value::Object | Value::List => self.enter(value == Value::Object, leading, networks)?,
            Value::Other => {
                self.token = token;
                self.after_value();
            }
        }
        Ok(())
    }

    /// The pointers that lead to the value that begins here.
    fn leading(&mut self) -> u16 {
        let depth = self.open.len();
        let Some(container) = self.open.last_mut() else {
            let all = self.selection.pointers.iter().enumerate();
            return all.fold(0, |all, (index, _)| all | bit(index));
        };
        if container.is_object {
            return container.member;
        }
        let index = container.index.to_string();
        let (leading, mut leads) = (container.leading, 0);
        for (number, pointer) in self.selection.pointers.iter().enumerate() {
            let is_it = depth.checked_sub(1).and_then(|at| pointer.get(at)).is_some_and(|part| match part {
                Part::Every => true,
                Part::Named(name) => name == index.as_bytes(),
            });
            if is_it && leading & bit(number) != 0 {
                leads |= bit(number);
            }
        }
        leads
    }

    /// The pointers with so many parts.
    fn ending_at(&self, depth: usize) -> u16 {
        let all = self.selection.pointers.iter().enumerate();
        all.filter(|(_, pointer)| pointer.len() == depth).fold(0, |all, (index, _)| all | bit(index))
    }

    fn enter(&mut self, is_object: bool, leading: u16, networks: &Networks) -> Result<(), Fault> {
        let depth = self.open.len();
        if depth >= DEEPEST {
            return Err(self.wrong());
        }
        let is_judged = |(index, pointer): (usize, &Vec<Part>)| {
            let last_named = pointer.iter().rposition(|part| matches!(part, Part::Named(_)));
            leading & bit(index) != 0 && last_named == Some(depth)
        };
        let is_judged = is_object
            && !self.selection.conditions.is_empty()
            && self.selection.pointers.iter().enumerate().any(is_judged);
        // A list in the place of a condition's text: one of its own texts will do.
        let condition = self.open.last().filter(|outer| outer.is_object).and_then(|outer| outer.condition);
        let is_condition_list = !is_object && condition.is_some();
        self.open.push(Container {
            is_object,
            leading,
            seen: 0,
            member: 0,
            index: 0,
            judged: is_judged.then(|| networks.found.mark()),
            mentioned: 0,
            holding: 0,
            condition: condition.filter(|_| is_condition_list),
            is_condition_list,
        });
        self.expecting = if is_object { Expecting::FirstKey } else { Expecting::FirstValue };
        Ok(())
    }

    fn leave(&mut self, byte: u8, networks: &mut Networks) -> Result<(), Fault> {
        let Some(container) = self.open.pop() else { return Err(self.wrong()) };
        if container.is_object != (byte == b'}') {
            return Err(self.wrong());
        }
        if let Some(mark) = container.judged {
            let all = (0..self.selection.conditions.len()).fold(0, |all, index| all | condition_bit(index));
            if container.holding != all {
                networks.found.truncate(mark);
            }
        }
        self.after_value();
        Ok(())
    }

    fn after_value(&mut self) {
        self.expecting = if self.open.is_empty() { Expecting::Nothing } else { Expecting::Next };
    }

    fn end_text(&mut self, networks: &mut Networks) -> Result<(), Fault> {
        if self.text.is_key {
            self.expecting = Expecting::Colon;
            return self.end_key();
        }
        let leading = self.leading();
        self.hold_condition();
        let is_network = leading & self.ending_at(self.open.len()) != 0;
        self.after_value();
        match is_network {
            true => networks.add(self.text.whole().unwrap_or("a text of more than 512 bytes")),
            false => Ok(()),
        }
    }

    fn end_key(&mut self) -> Result<(), Fault> {
        let depth = self.open.len();
        let Some(container) = self.open.last_mut() else { return Ok(()) };
        let key = self.text.whole();
        (container.member, container.condition) = (0, None);
        for (index, pointer) in self.selection.pointers.iter().enumerate() {
            let part = depth.checked_sub(1).and_then(|at| pointer.get(at));
            if container.leading & bit(index) == 0 {
                continue;
            }
            match part {
                Some(Part::Every) => container.member |= bit(index),
                Some(Part::Named(name)) if key.is_some_and(|key| key.as_bytes() == name) => {
                    if container.seen & bit(index) != 0 {
                        return Err(Fault::Ambiguous);
                    }
                    container.seen |= bit(index);
                    container.member |= bit(index);
                }
                _ => {}
            }
        }
        if container.judged.is_some() {
            let mut conditions = self.selection.conditions.iter();
            container.condition = conditions.position(|condition| Some(condition.member.as_str()) == key);
            let mentioned = container.condition.map_or(0, condition_bit);
            if container.mentioned & mentioned != 0 {
                return Err(Fault::Ambiguous);
            }
            container.mentioned |= mentioned;
        }
        Ok(())
    }

    /// A text has come: whether a condition holds by it.
    fn hold_condition(&mut self) {
        let Some(condition) = self.open.last().and_then(|container| container.condition) else { return };
        let is_met = |one: &Condition| one.any_of.iter().any(|text| Some(text.as_str()) == self.text.whole());
        if !self.selection.conditions.get(condition).is_some_and(is_met) {
            return;
        }
        let mut containers = self.open.iter_mut().rev();
        let innermost = containers.next();
        let judged = match innermost {
            Some(list) if list.is_condition_list => containers.next(),
            object => object,
        };
        if let Some(judged) = judged {
            judged.holding |= condition_bit(condition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::Collection;
    use super::*;
    use crate::request::Millis;

    fn read(selection: &Selection, body: &str, size: usize) -> Result<Vec<&'static str>, Fault> {
        // Each network that a document here may name.
        const KNOWN: [&str; 5] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "198.51.100.4"];
        let mut document = Document::new(selection.clone());
        let mut networks = Networks { found: Collection::default(), initial: None };
        for piece in body.as_bytes().chunks(size) {
            document.update(piece, &mut networks)?;
        }
        document.finish()?;
        let list = networks.found.into_list(Millis(0));
        Ok(KNOWN.into_iter().filter(|one| list.contains(one.parse().unwrap())).collect())
    }

    fn selection(pointers: &[&str], conditions: &[(&str, &[&str])]) -> Selection {
        let condition = |(member, any_of): &(&str, &[&str])| Condition {
            member: (*member).to_owned(),
            any_of: any_of.iter().map(|text| (*text).to_owned()).collect(),
        };
        Selection {
            pointers: pointers.iter().map(|text| Selection::pointer(text).unwrap()).collect(),
            conditions: conditions.iter().map(condition).collect(),
        }
    }

    /// Pointers, conditions, a document, and what is found in it.
    type Row<'r> = (&'r [&'r str], &'r [(&'r str, &'r [&'r str])], &'r str, &'r [&'r str]);

    const ONE: &[&str] = &["192.0.2.1"];
    const NONE: &[&str] = &[];

    #[test]
    fn pointers_lead_to_their_networks_under_every_chunking() {
        let aws: &[(&str, &[&str])] = &[("service", &["EC2", "S3"]), ("region", &["eu-west-1"])];
        let where_list: &[(&str, &[&str])] = &[("product", &["jira"])];
        let rows: Vec<Row<'_>> = vec![
            (&["/hooks/*"], &[], r#"{"web": ["192.0.2.2"], "hooks": ["192.0.2.1"]}"#, ONE),
            (&["/hooks/0"], &[], r#"{"hooks": ["192.0.2.1", "192.0.2.2"]}"#, ONE),
            (&["/hooks/1"], &[], r#"{"hooks": ["192.0.2.2", "192.0.2.1"]}"#, ONE),
            (&["/*"], &[], r#"["192.0.2.1"]"#, ONE),
            (&["/*"], &[], r#"{"any": "192.0.2.1"}"#, ONE),
            (&["/*/ips/*"], &[], r#"{"a": {"ips": ["192.0.2.1"], "x": 1}, "b": {"ips": []}, "c": 7}"#, ONE),
            (&["/a~1b/*"], &[], r#"{"a/b": ["192.0.2.1"]}"#, ONE),
            (&["/hooks/*"], &[], r#"{"\u0068ooks": ["192.0.2.\u0031"]}"#, ONE),
            (&["/hooks/*"], &[], r#"{"hooks": null}"#, NONE),
            (&["/hooks/*"], &[], r#"{"hooks": "192.0.2.1"}"#, NONE),
            (&["/hooks/*"], &[], r#"{"a": {"hooks": ["192.0.2.1"]}}"#, NONE),
            (
                &["/v4/*", "/v6/*"],
                &[],
                r#"{"v6": ["2001:db8::1"], "v4": ["192.0.2.1"]}"#,
                &["192.0.2.1", "2001:db8::1"],
            ),
            (
                &["/p/*/ip"],
                aws,
                r#"{"p": [{"ip": "192.0.2.1", "region": "eu-west-1", "service": "S3"}]}"#,
                ONE,
            ),
            (
                &["/p/*/ip"],
                aws,
                r#"{"p": [{"region": "eu-west-1", "service": "EC2", "ip": "192.0.2.1"}]}"#,
                ONE,
            ),
            (
                &["/p/*/ip"],
                aws,
                r#"{"p": [{"region": "eu-west-2", "service": "EC2", "ip": "192.0.2.1"}]}"#,
                NONE,
            ),
            (&["/p/*/ip"], aws, r#"{"p": [{"region": "eu-west-1", "ip": "192.0.2.1"}]}"#, NONE),
            (
                &["/p/*/ip"],
                aws,
                r#"{"p": [{"region": "eu-west-1", "service": ["EC2"], "ip": "192.0.2.1"}]}"#,
                ONE,
            ),
            (
                &["/p/*/ip"],
                aws,
                r#"{"p": [{"region": "eu-west-1", "service": [["EC2"]], "ip": "192.0.2.1"}]}"#,
                NONE,
            ),
            (
                &["/p/*/ip"],
                aws,
                r#"{"p": [{"region": "eu-west-1", "service": {"x": "EC2"}, "ip": "192.0.2.1"}]}"#,
                NONE,
            ),
            (
                &["/p/*/ip"],
                aws,
                r#"{"region": "eu-west-1", "service": "EC2", "p": [{"ip": "192.0.2.1"}]}"#,
                NONE,
            ),
            (
                &["/p/*/ip"],
                aws,
                r#"{"p": [{"ip": "192.0.2.2", "service": "EC2", "region": "x"}, {"ip": "192.0.2.1", "service": "EC2", "region": "eu-west-1"}, {"ip": "192.0.2.3"}]}"#,
                ONE,
            ),
            (
                &["/items/*/cidr"],
                where_list,
                r#"{"items": [{"cidr": "192.0.2.1", "product": ["trello", "jira"]}, {"cidr": "192.0.2.2", "product": ["trello"]}]}"#,
                ONE,
            ),
            (
                &["/items/*/ips/*"],
                where_list,
                r#"{"items": [{"ips": ["192.0.2.1"], "product": "jira"}, {"ips": ["192.0.2.2"]}]}"#,
                ONE,
            ),
            (
                &["/items/*/ips/*"],
                where_list,
                r#"{"items": [{"ips": ["jira", "192.0.2.1"], "product": "x"}]}"#,
                NONE,
            ),
        ];
        for (pointers, conditions, body, expected) in rows {
            let selection = selection(pointers, conditions);
            for size in [1, 2, 3, 7, body.len()] {
                let read = read(&selection, body, size);
                if body.contains(r#"["jira", "192"#) {
                    assert_eq!(read, Err(Fault::NoNetwork("jira".to_owned())), "{body} by {size}");
                } else {
                    assert_eq!(read.as_deref(), Ok(expected), "{pointers:?} in {body} by {size}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_json_to_the_last_byte_is_refused() {
        let hooks = selection(&["/hooks/*"], &[("a", &["b"])]);
        let deep = format!("{}1{}", "[".repeat(DEEPEST + 1), "]".repeat(DEEPEST + 1));
        for body in [
            "",
            " ",
            "{",
            "[1",
            "[1,]",
            "[,1]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            "[1}",
            "{]",
            "1 2",
            "[01]",
            "[1.]",
            "[.5]",
            "[1e]",
            "[+1]",
            "[-]",
            "[tru]",
            "[truee]",
            "[nul",
            r#"["a]"#,
            r#"["\x"]"#,
            r#"["\u12g4"]"#,
            r#"["\ud800"]"#,
            r#"["\ud800\u0041"]"#,
            r#"["\udc00"]"#,
            "[\"\u{1}\"]",
            r#"{"a":1}x"#,
            "[1]]",
            "<html>",
            "'a'",
            &deep,
            r#"{"a" 1}"#,
            r#"{"a":1 "b":2}"#,
            "[1 2]",
            "/**/[]",
            "NaN",
        ] {
            for size in [1, 2, body.len().max(1)] {
                let said = read(&hooks, body, size);
                assert!(matches!(said, Err(Fault::NotJson(_))), "{body} by {size}: {said:?}");
            }
            assert!(
                body == deep || serde_json::from_str::<serde_json::Value>(body).is_err(),
                "{body} is JSON"
            );
        }
        for body in [
            r#"[1, -0, 1.5e+10, 0.1E-3, true, false, null, "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é", {}, [], {"a": {"b": []}}]"#,
            " \t\r\n\"text\" ",
            "0",
            "-1",
        ] {
            for size in [1, 3, body.len()] {
                assert_eq!(read(&hooks, body, size).as_deref(), Ok(NONE), "{body} by {size}");
            }
            assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body} is no JSON");
        }
    }

    #[test]
    fn what_leaves_a_doubt_is_refused() {
        let hooks = selection(&["/hooks/*"], &[]);
        let aws = selection(&["/p/*/ip"], &[("service", &["EC2"])]);
        for (selection, body, fault) in [
            (&hooks, r#"{"hooks": ["192.0.2.1"], "hooks": []}"#, Fault::Ambiguous),
            (&hooks, r#"{"hooks": ["192.0.2.1"], "\u0068ooks": []}"#, Fault::Ambiguous),
            (&hooks, r#"{"hooks": ["192.0.2.1", 7]}"#, Fault::NoText),
            (&hooks, r#"{"hooks": [null]}"#, Fault::NoText),
            (&hooks, r#"{"hooks": [["192.0.2.1"]]}"#, Fault::NoText),
            (&hooks, r#"{"hooks": [{}]}"#, Fault::NoText),
            (&hooks, r#"{"hooks": ["192.0.2.1/33"]}"#, Fault::NoNetwork("192.0.2.1/33".to_owned())),
            (&hooks, r#"{"hooks": [""]}"#, Fault::NoNetwork(String::new())),
            (&aws, r#"{"p": [{"ip": "192.0.2.1", "ip": "192.0.2.2"}]}"#, Fault::Ambiguous),
            (&aws, r#"{"p": [{"service": "S3", "ip": "192.0.2.1", "service": "EC2"}]}"#, Fault::Ambiguous),
        ] {
            assert_eq!(read(selection, body, 3), Err(fault), "{body}");
        }
    }
}
