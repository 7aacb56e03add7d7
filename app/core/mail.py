"""E-mail by the SMTP server of the settings."""

import smtplib
import ssl
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr

from app.core.config import SmtpSecurity, get_settings
from app.core.errors import DomainError

SECONDS = 10.0  # that the server has for each answer


class NotSent(DomainError):
    """The server did not take it."""


def is_on() -> bool:
    return get_settings().smtp_host is not None


def message_to(address: str, *, subject: str, text: str, message_id: str) -> EmailMessage:
    """A plain letter. The same id at a second sending, so that mailboxes show it once."""
    settings, made = get_settings(), EmailMessage()
    made["From"], (name, _, domain) = settings.smtp_from, address.rpartition("@")
    made["To"] = Address(username=name, domain=domain)  # one reader, whatever the letters of the address
    made["Subject"] = " ".join(subject.split())  # one line, whatever a run is called
    made["Date"] = formatdate(usegmt=True)
    made["Message-ID"] = f"<{message_id}@{parseaddr(settings.smtp_from)[1].rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"  # no holiday answers (RFC 3834)
    made.set_content(text)
    return made


def send(message: EmailMessage) -> None:
    """Hand it to the server, or NotSent with what the server said."""
    settings = get_settings()
    try:
        server = _connected(str(settings.smtp_host), settings.smtp_port, settings.smtp_security)
        try:
            if settings.smtp_user:
                password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
                server.login(settings.smtp_user, password)
            server.send_message(message)
        finally:
            _leave(server)
    except UnicodeError as error:  # whose own words would show letters of the password
        raise NotSent(
            f"{type(error).__name__}: TOUCHSTONE_SMTP_HOST is no name of a server, or TOUCHSTONE_SMTP_USER or "
            "TOUCHSTONE_SMTP_PASSWORD has letters that are not ASCII."
        ) from error
    except (OSError, smtplib.SMTPException) as error:  # a certificate that is wrong is an OSError too
        raise NotSent(f"{type(error).__name__}: {str(error)[:300]}") from error


def _leave(server: smtplib.SMTP) -> None:
    """A letter that was taken is sent, whatever the server answers to goodbye."""
    with suppress(OSError, smtplib.SMTPException):
        server.quit()
    server.close()


def _connected(host: str, port: int, security: SmtpSecurity) -> smtplib.SMTP:
    if security is SmtpSecurity.tls:
        return smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=ssl.create_default_context())
    server = smtplib.SMTP(host, port, timeout=SECONDS)
    if security is SmtpSecurity.starttls:
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server
