//! The cookie that names a session (RFC 6265 §4.1), spelled as the npm package `cookie` spells it, which Engine.IO for Node uses.
//!
//! It is there for load balancers in front, and never read back.

#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Write as _};

use super::http;

/// When a browser sends the cookie along with requests from other sites.
///
/// ```
/// use ringhall::{Cookie, SameSite};
/// // For pages that other sites embed.
/// let cookie = Cookie { same_site: Some(SameSite::None), secure: true, ..Cookie::default() };
/// # let _ = cookie;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
    Lax,
    /// Always; browsers want [`Cookie::secure`] with it.
    None,
}

/// Which cookies a browser throws away last.
///
/// ```
/// use ringhall::{Cookie, Priority};
/// let cookie = Cookie { priority: Some(Priority::High), ..Cookie::default() };
/// # let _ = cookie;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// First.
    Low,
    /// In between.
    Medium,
    /// Last.
    High,
}

/// The cookie's name and attributes; its value is the session's id.
///
/// By default `io=ID; Path=/; HttpOnly; SameSite=Lax`.
///
/// ```
/// use ringhall::{Config, Cookie, Server};
/// let sticky = Cookie { name: "sticky".to_owned(), max_age_s: Some(86_400), ..Cookie::default() };
/// assert!(sticky.http_only && !sticky.secure);
/// let builder = Server::builder().config(Config { cookie: Some(sticky), ..Config::default() });
/// # let _ = builder;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// A token.
    pub name: String,
    /// Where it is sent to: the path and all below it. None: where the request went.
    pub path: Option<String>,
    /// Which host it is sent to, and all below it. None: the one that the request went to, alone.
    pub domain: Option<String>,
    /// For how many seconds it is kept; not positive: it is dropped at once. None: as long as the browser runs.
    pub max_age_s: Option<i64>,
    /// Until when it is kept, as in `Wed, 21 Oct 2015 07:28:00 GMT`. `max_age_s` goes before it.
    pub expires: Option<String>,
    /// Scripts do not see it.
    pub http_only: bool,
    /// It is sent over TLS alone.
    pub secure: bool,
    /// None: as the browser likes, which is mostly [`SameSite::Lax`].
    pub same_site: Option<SameSite>,
    /// None: as the browser likes, which is [`Priority::Medium`].
    pub priority: Option<Priority>,
    /// It is kept apart for each site that embeds this one.
    pub partitioned: bool,
}

impl Default for Cookie {
    fn default() -> Self {
        Cookie {
            name: "io".to_owned(),
            path: Some("/".to_owned()),
            domain: None,
            max_age_s: None,
            expires: None,
            http_only: true,
            secure: false,
            same_site: Some(SameSite::Lax),
            priority: None,
            partitioned: false,
        }
    }
}

/// Which field of a [`Cookie`] cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieError {
    Name,
    Path,
    Domain,
    Expires,
}

impl CookieError {
    /// The field as it is called in the configuration.
    pub(crate) fn field(self) -> &'static str {
        match self {
            CookieError::Name => "name",
            CookieError::Path => "path",
            CookieError::Domain => "domain",
            CookieError::Expires => "expires",
        }
    }
}

impl Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self {
            CookieError::Name => "not a token",
            CookieError::Path => "not printable ASCII without `;` and `<`",
            CookieError::Domain => "not a domain name",
            CookieError::Expires => "not a date as in `Wed, 21 Oct 2015 07:28:00 GMT`",
        };
        write!(f, "the cookie's {} is {rule}", self.field())
    }
}

impl Cookie {
    /// To be asked once, when the cookie is configured: [`set_cookie`](Self::set_cookie) writes the fields as they are.
    pub(crate) fn check(&self) -> Result<(), CookieError> {
        let fits = |field: &Option<String>, rule: fn(&str) -> bool| {
            field
                .as_deref()
                .is_none_or(|text| text.is_empty() || rule(text))
        };
        if !http::is_token(self.name.as_bytes()) {
            return Err(CookieError::Name);
        }
        if !fits(&self.domain, is_domain) {
            return Err(CookieError::Domain);
        }
        if !fits(&self.path, is_path) {
            return Err(CookieError::Path);
        }
        if !fits(&self.expires, is_date) {
            return Err(CookieError::Expires);
        }
        Ok(())
    }

    /// The value of `Set-Cookie` for a session. Whatever its id is made of, it stays within the cookie's value.
    pub(crate) fn set_cookie(&self, sid: &str) -> String {
        let mut out = String::with_capacity(self.name.len() + sid.len() + 64);
        out.push_str(&self.name);
        out.push('=');
        push_percent_encoded(&mut out, sid);
        if let Some(seconds) = self.max_age_s {
            // Writing to a string cannot fail.
            let _ = write!(out, "; Max-Age={seconds}");
        }
        push_attribute(&mut out, "Domain", self.domain.as_deref());
        push_attribute(&mut out, "Path", self.path.as_deref());
        push_attribute(&mut out, "Expires", self.expires.as_deref());
        for (flag, name) in [
            (self.http_only, "; HttpOnly"),
            (self.secure, "; Secure"),
            (self.partitioned, "; Partitioned"),
        ] {
            if flag {
                out.push_str(name);
            }
        }
        let priority = self.priority.map(|priority| match priority {
            Priority::Low => "Low",
            Priority::Medium => "Medium",
            Priority::High => "High",
        });
        push_attribute(&mut out, "Priority", priority);
        let same_site = self.same_site.map(|same_site| match same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        });
        push_attribute(&mut out, "SameSite", same_site);
        out
    }
}

/// An empty attribute is left out.
fn push_attribute(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        out.push_str("; ");
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

/// As JavaScript's `encodeURIComponent`.
fn push_percent_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// RFC 6265 §4.1.1: "any CHAR except CTLs or ";"". The package also refuses `<`.
fn is_path(path: &str) -> bool {
    path.bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b';' && byte != b'<')
}

/// RFC 1034 §3.5 and RFC 1123 §2.1: labels of letters, digits and inner hyphens, at most 63 of them. A dot before the first is ignored by
/// browsers and was once usual.
fn is_domain(domain: &str) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    domain.split('.').all(|label| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// RFC 9110 §5.6.7, IMF-fixdate: what it is made of, not whether that day was a Wednesday.
fn is_date(text: &str) -> bool {
    const DAYS: &[&str] = &["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: &[&str] = &[
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let number = |text: &str, digits: usize, range: std::ops::RangeInclusive<u16>| {
        text.len() == digits
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|number| range.contains(&number))
    };
    let Some((weekday, rest)) = text.split_once(", ") else {
        return false;
    };
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return false;
    };
    let time: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = time[..] else {
        return false;
    };
    DAYS.contains(&weekday)
        && number(day, 2, 1..=31)
        && MONTHS.contains(&month)
        && number(year, 4, 0..=9999)
        && number(hour, 2, 0..=23)
        && number(minute, 2, 0..=59)
        && number(second, 2, 0..=60)
}
