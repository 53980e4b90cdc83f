use super::{Form, Moment, Reading, civil};

/// Reads the text of a value of this type, as Postgres (`DateStyle` ISO) or ISO 8601 print it.
/// The offset in `form` is ignored; `None` if it is none.
pub(in crate::mapping) fn parse(text: &str, form: Form) -> Option<Moment> {
    match text {
        "infinity" => return Some(Moment { form, at: Reading::After }),
        "-infinity" => return Some(Moment { form, at: Reading::Before }),
        _ => {}
    }
    let (text, before_christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let mut rest = Rest(text);
    let (year, month, day) = match form {
        Form::Time | Form::TimeTz(_) => (0, 1, 1),
        _ => rest.date(before_christ)?,
    };
    let (hour, minute, second, micro) = match form {
        Form::Date => (0, 0, 0, 0),
        Form::Timestamp | Form::TimestampTz => {
            if !rest.take(' ') && !rest.take('T') {
                return None;
            }
            rest.clock()?
        }
        Form::Time | Form::TimeTz(_) => rest.clock()?,
    };
    let local = Reading::Finite { year, month, day, hour, minute, second, micro };
    let moment = match form {
        Form::TimestampTz => Moment { form, at: civil::earlier(local, rest.offset()?) },
        Form::TimeTz(_) => Moment { form: Form::TimeTz(rest.offset()?), at: local },
        _ => Moment { form, at: local },
    };
    rest.0.is_empty().then_some(moment)
}

/// Reads text that is a date or timestamp by its looks.
pub(in crate::mapping) fn guess(text: &str) -> Option<Moment> {
    [Form::TimestampTz, Form::Timestamp, Form::Date].into_iter().find_map(|form| parse(text, form))
}

struct Rest<'t>(&'t str);

impl Rest<'_> {
    fn take(&mut self, c: char) -> bool {
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A number of so many digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        if count < least || count > most {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        digits.parse().ok()
    }

    fn two(&mut self) -> Option<u8> {
        self.digits(2, 2).map(|two| two as u8)
    }

    fn date(&mut self, before_christ: bool) -> Option<(i32, u8, u8)> {
        let negative = self.take('-');
        if !negative {
            self.take('+');
        }
        let year = self.digits(4, 7)? as i32;
        let year = if before_christ { 1 - year } else { year };
        let year = if negative { -year } else { year };
        let month = self.take('-').then(|| self.two())??;
        let day = self.take('-').then(|| self.two())??;
        (day >= 1 && day <= civil::days_in(year, month)).then_some((year, month, day))
    }

    fn clock(&mut self) -> Option<(u8, u8, u8, u32)> {
        let hour = self.two()?;
        let minute = self.take(':').then(|| self.two())??;
        let second = if self.take(':') { self.two()? } else { 0 };
        let mut micro = 0;
        if self.take('.') {
            let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
            // More than six digits are beyond what Postgres can hold.
            let digits = self.0.get(..count.min(6))?;
            micro = digits.parse::<u32>().ok()? * 10_u32.pow(6 - digits.len() as u32);
            self.0 = &self.0[count..];
        }
        let midnight = hour == 24 && minute == 0 && second == 0 && micro == 0;
        ((hour < 24 || midnight) && minute < 60 && second < 61).then_some((hour, minute, second, micro))
    }

    /// `Z`, `+02`, `-03:30`, `+00:19:32`, in seconds.
    fn offset(&mut self) -> Option<i32> {
        if self.take('Z') {
            return Some(0);
        }
        let negative = self.take('-');
        if !negative && !self.take('+') {
            return None;
        }
        let mut seconds = i32::from(self.two()?) * 3600;
        if self.take(':') {
            seconds += i32::from(self.two()?) * 60;
            if self.take(':') {
                seconds += i32::from(self.two()?);
            }
        }
        Some(if negative { -seconds } else { seconds })
    }
}
