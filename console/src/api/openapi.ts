// Made from docs/reference/openapi.json by `npm run types`.
export interface paths {
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What was counted and what is known now, in the text format of Prometheus, or as OpenMetrics 1.0 if
         *     `Accept` asks for that. Who may see one project sees what is of this project.
         */
        get: operations["read_metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists accounts. */
        get: operations["list_accounts"];
        put?: never;
        /** Makes an account, with a cap of 100.00 a month and billing off. */
        post: operations["create_account"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One account. */
        get: operations["get_account"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}/address": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Sets whom invoices of an account are for. */
        put: operations["set_customer"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}/billing": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Says whether the balance bounds what the account spends. */
        put: operations["set_billing"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}/cap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Sets the cap of an account. */
        put: operations["set_account_cap"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}/deposits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Books money that came in, or trial credit. The same id with the same content is done once. */
        post: operations["create_deposit"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}/promises": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Counts on a payment that is to come; one at a time. Raises the balance, never a cap. */
        post: operations["create_promise"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}/stop-order": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Says which project stops first when the balance ends. */
        put: operations["set_stop_order"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/accounts/{account}/transfers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Payments, promises, corrections and invoices of an account, newest first. */
        get: operations["list_transfers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What was done in what the one who asks looks after, newest first. As JSON lines or CSV all that
         *     match, streamed.
         */
        get: operations["list_audit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Which outside systems are connected, and how far they know. */
        get: operations["get_billing"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/outside": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Tells a billing system of usage, invoices and credit notes from now on. */
        put: operations["set_outside"];
        post?: never;
        /** Tells nobody any more. What was not sent waits. */
        delete: operations["unset_outside"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/records": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Records for the outside system, newest first. */
        get: operations["list_records"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/records/{record}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One record, with what is sent. */
        get: operations["get_record"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/records/{record}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Has a record sent and read back again, whatever became of it. */
        post: operations["retry_record"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Has all that failed sent again. */
        post: operations["retry_failed"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/billing/topups": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Takes top-ups from a payment system, signed with the secret that is given, or with the one in the
         *     answer, and with no other.
         */
        put: operations["set_topups"];
        /**
         * Books money that a payment system has taken in. Signed instead of a token; the same id with the
         *     same content is booked once.
         */
        post: operations["create_topup"];
        /** Takes no top-ups any more. */
        delete: operations["unset_topups"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/caps": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How all accounts, projects and environments stand that the token may know of. */
        get: operations["list_caps"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/certificate-authority": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The authority that certificates are from. */
        get: operations["get_authority"];
        /** Gets certificates from an authority from now on, whose terms are agreed to. */
        put: operations["set_authority"];
        post?: never;
        /** Asks no authority any more. Certificates that are there go on until they end. */
        delete: operations["unset_authority"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/certificate-dns": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Makes records in a zone from now on, so that Weir's own names get one wildcard. */
        put: operations["set_dns"];
        post?: never;
        /** Makes no records any more. */
        delete: operations["unset_dns"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/certificates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All certificates, without their keys. */
        get: operations["list_certificates"];
        put?: never;
        /**
         * Takes a certificate of one's own. The key fits, the chain is in order and nothing has ended, or
         *     it is refused.
         */
        post: operations["upload_certificate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/certificates/{certificate}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Removes a certificate. Host names that need one get another from the authority. */
        delete: operations["delete_certificate"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contacts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists contacts. */
        get: operations["list_contacts"];
        put?: never;
        /** Adds a contact. The answer holds, once, what its webhooks are signed with. */
        post: operations["create_contact"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contacts/{contact}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Removes a contact, and what waits for it. */
        delete: operations["delete_contact"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/contacts/{contact}/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Sends a contact a notice that only shows that it is reached. */
        post: operations["test_contact"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/cost": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What all projects cost that the token may know of. */
        get: operations["get_cost"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Changes of state. As server-sent events `change`: from now on, or behind `after` or `Last-Event-ID`.
         *     With `Accept: application/json` those of the past, newest first; the newest 10,000 are kept.
         */
        get: operations["watch_changes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** State of the platform: 200 once everything is ready, else 503. Needs no token. */
        get: operations["get_health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/help": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One's own requests and those about what one looks after, newest first. */
        get: operations["list_help"];
        put?: never;
        /** Asks for help; at most 20 times a day. Those who run Weir get mail, if there is a mail server. */
        post: operations["create_help"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/help-context": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How an environment stands, as it would be attached to a request. */
        get: operations["get_help_context"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/help/{request}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A request with all that was said, and how things stood. */
        get: operations["get_help"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Closes it, or opens it again. */
        patch: operations["update_help"];
        trace?: never;
    };
    "/v1/help/{request}/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Says something to it; the other side gets mail. */
        post: operations["answer_help"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Invitations that are open. */
        get: operations["list_invitations"];
        put?: never;
        /** Makes a link by which somebody gets roles. It is shown once. */
        post: operations["create_invitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Accepts an invitation, as somebody new or as who is signed in, and signs in. */
        post: operations["accept_invitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations/look": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** What an invitation offers, to who has the link. */
        post: operations["look_at_invitation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invitations/{invitation}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Takes an invitation back. */
        delete: operations["delete_invitation"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoice-settings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What is the same on all invoices. */
        get: operations["get_invoice_settings"];
        /** Changes it for documents that are made from now on. */
        put: operations["set_invoice_settings"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Invoices and credit notes of an account, newest first. */
        get: operations["list_invoices"];
        put?: never;
        /** Makes a draft of what was used in a stretch that is over. */
        post: operations["create_invoice"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoices/{invoice}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One invoice or credit note. */
        get: operations["get_invoice"];
        put?: never;
        post?: never;
        /** Discards a draft. */
        delete: operations["discard_invoice"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoices/{invoice}/credit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes a draft of a credit note, which takes lines of a final invoice back. */
        post: operations["credit_invoice"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoices/{invoice}/finalize": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Gives a draft its number; it never changes afterwards. */
        post: operations["finalize_invoice"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoices/{invoice}/html": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same as a page to print. */
        get: operations["get_invoice_html"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/invoices/{invoice}/pdf": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same as a PDF. */
        get: operations["get_invoice_pdf"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/ledger/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Replays the journal from its beginning and compares everything with it. */
        get: operations["audit_ledger"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/ledger/journal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Entries of the journal in order, as they were hashed; an empty list at its end. */
        get: operations["read_journal"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What is shown live, as server-sent events: `state` with a whole topic, first and whenever it has
         *     changed; `refused` for a topic that one may not see, or that is gone; `tick` with the instant as of
         *     which everything is; `end`. Topics are `overview`, `environment:PROJECT/ENVIRONMENT`, `releases:…`,
         *     `domains:…`, `caps` and `tasks`.
         */
        get: operations["watch_live"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Changes name or language. */
        patch: operations["update_me"];
        trace?: never;
    };
    "/v1/me/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Changes the password. The session that asks goes on under a new cookie; all others end. */
        put: operations["change_password"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Where one is signed in, last used first. */
        get: operations["list_sessions"];
        put?: never;
        post?: never;
        /** Ends all of one's sessions but the one that asks. */
        delete: operations["revoke_sessions"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/sessions/{session}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Ends one of one's sessions. */
        delete: operations["revoke_session"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/me/totp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Confirms it by a code. The answer has the recovery codes, which are not shown again. */
        put: operations["confirm_totp"];
        /** Makes a secret for a second factor; it is in force once a code confirms it. */
        post: operations["create_totp"];
        /** Takes the second factor away. The password stands in the header `X-Weir-Password`, percent-encoded. */
        delete: operations["delete_totp"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/notices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Notices, newest first. */
        get: operations["list_notices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document. */
        get: operations["get_openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/overview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All that runs, on one page. */
        get: operations["get_overview"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/password-resets/use": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sets a new password by a link that an administrator has made. All sessions end; the second factor
         *     stays.
         */
        post: operations["use_password_reset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** People with a role in what the one who asks looks after, with these roles. */
        get: operations["list_people"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{person}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Removes somebody with all roles. The audit log keeps the name. */
        delete: operations["delete_person"];
        options?: never;
        head?: never;
        /** Keeps somebody out, or lets them in again. All their sessions end. */
        patch: operations["update_person"];
        trace?: never;
    };
    "/v1/people/{person}/grants": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Sets the roles of somebody, in place of those that the one who asks looks after. */
        put: operations["set_grants"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{person}/password-reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes a link by which somebody sets a new password; it works once, for a day. */
        post: operations["create_password_reset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{person}/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Where somebody is signed in, last used first. */
        get: operations["list_sessions_of"];
        put?: never;
        post?: never;
        /** Signs somebody out everywhere. */
        delete: operations["revoke_sessions_of"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{person}/sessions/{session}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Ends one session of somebody. */
        delete: operations["revoke_session_of"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/people/{person}/totp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Takes the second factor of somebody away who has lost it. */
        delete: operations["delete_second_factor"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/prices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All versions of the prices, newest first. */
        get: operations["list_prices"];
        put?: never;
        /** Publishes a new version of the prices. What is leased already keeps its prices. */
        post: operations["publish_prices"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/prices/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One version of the prices. */
        get: operations["get_prices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the projects that the token may know of. */
        get: operations["list_projects"];
        put?: never;
        /** Makes a project with its production environment and its git repository. */
        post: operations["create_project"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One project. */
        get: operations["get_project"];
        put?: never;
        post?: never;
        /** Removes a project with everything it has: containers, images, networks, volumes, files. */
        delete: operations["destroy_project"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/cap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How a project stands: its account, itself, its environments. */
        get: operations["get_cap"];
        /** Sets the cap of a project. */
        put: operations["set_project_cap"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/cost": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a project, or one of its environments, costs. */
        get: operations["get_project_cost"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the environments of a project. */
        get: operations["list_environments"];
        put?: never;
        /** Makes an environment with its own variables, network and address. */
        post: operations["create_environment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What runs in an environment, from reality. */
        get: operations["get_environment"];
        put?: never;
        post?: never;
        /** Removes an environment with everything it has. Production goes only with its project. */
        delete: operations["destroy_environment"];
        options?: never;
        head?: never;
        /** Lets an environment follow another branch. */
        patch: operations["update_environment"];
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/access-log": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether requests to each app are logged, and where the lines are shipped to. */
        get: operations["get_access_log"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Switches the access log of an app on or off; it holds within a second. */
        patch: operations["set_access_log"];
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/access-log/shipping": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Ships the lines of all apps of an environment to a collector from now on. The answer has the
         *     secret for its signatures, if one was made; it is not shown again.
         */
        put: operations["set_shipping"];
        post?: never;
        /** Ships no more. */
        delete: operations["unset_shipping"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/access/{user}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * Lets somebody pass to an environment, or gives them another password. From the first one on,
         *     everybody is asked for one.
         */
        put: operations["set_access"];
        post?: never;
        /** Lets somebody pass no more. Once nobody is left, everybody may pass. */
        delete: operations["remove_access"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/cache": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What is kept of the environment's answers. */
        get: operations["get_cache"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/cache/purge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Has all nodes forget answers, and waits until they have: what is asked for from then on comes from
         *     the app.
         */
        post: operations["purge_cache"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/canary": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Both releases, what part of the requests the canary gets, and how each does. */
        get: operations["get_canary"];
        /** Changes what part of the requests the canary gets. */
        put: operations["set_canary"];
        post?: never;
        /** Gives the canary up: everybody gets the release that serves. */
        delete: operations["abort_canary"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/canary/promote": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes the canary the release that serves. */
        post: operations["promote_canary"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/cap": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Sets the cap of an environment, below that of its project. */
        put: operations["set_environment_cap"];
        post?: never;
        /** Takes the cap of an environment away: that of its project binds it from then on. */
        delete: operations["unset_environment_cap"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/deployments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists deployments, newest first. */
        get: operations["list_deployments"];
        put?: never;
        /** Rolls back, restarts, or deploys what `--no-deploy` left waiting. */
        post: operations["create_deployment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/domains": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists host names. */
        get: operations["list_domains"];
        /**
         * Adds host names of one's own, or changes how they answer: all or none. Those that the environment
         *     has already are fine.
         */
        put: operations["put_domains"];
        /** Adds a host name of one's own. */
        post: operations["add_domain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/domains/{host}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A host name, and how it stands with its certificate. */
        get: operations["get_domain"];
        put?: never;
        post?: never;
        /** Removes a host name of one's own. */
        delete: operations["remove_domain"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/domains/{host}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Tries to get the certificate of a host name now, without the rest of its pause. */
        post: operations["retry_domain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/exec": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Runs a command in a running instance, over a WebSocket. */
        get: operations["exec_command"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/guard": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The rules of all apps of an environment, and what the guard caught lately. */
        get: operations["get_guard"];
        put?: never;
        post?: never;
        /** Gives one app the default rules again. */
        delete: operations["reset_guard"];
        options?: never;
        head?: never;
        /** Changes the rules of one app; they hold within a second. */
        patch: operations["update_guard"];
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The lines that match, oldest first: the newest, or those before, behind or around a line. With
         *     `Accept: text/event-stream` or `follow=true` as server-sent events `line` that go on, and `gap`
         *     where lines went before they could be read; `Last-Event-ID` resumes behind the last line.
         */
        get: operations["read_logs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/logs/text": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same lines as text, to take along: all that match, or the newest so many, oldest first. */
        get: operations["download_logs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/loss": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What destroying an environment would lose. */
        get: operations["get_loss"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/maintenance": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Closes an environment for maintenance, within a second. Its instances go on, and so do deploys. */
        put: operations["set_maintenance"];
        post?: never;
        /** Opens an environment again. */
        delete: operations["unset_maintenance"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What happened in an environment, in steps of equal length; `cost` needs the permission to see money. */
        get: operations["get_metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Stops everything that runs, and keeps volumes, images and variables. */
        post: operations["pause_environment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/promote": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Runs the live images of another environment here, without a build. */
        post: operations["promote_environment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/proposal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same for the source of the live release, where that is kept: for what was pushed. */
        get: operations["get_live_proposal"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/protection": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who may pass to an environment, how it is closed, and what was refused. */
        get: operations["get_protection"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/releases": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists releases, newest first. */
        get: operations["list_releases"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/releases/{number}/difference": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What making a release live changes, against the one that serves, or another one. */
        get: operations["get_difference"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Starts again what was paused. */
        post: operations["resume_environment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Runs a command in a one-off container of the live release, over a WebSocket. */
        get: operations["run_command"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/scale": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Sets numbers of instances. */
        put: operations["set_scale"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/source": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Builds and deploys a source. The body is a tar archive, plain or gzip, or a zip. */
        post: operations["upload_source"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins an upload of a source: a tar, plain or gzip, or a zip. */
        post: operations["create_upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/uploads/{upload}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How much of an upload is there. */
        get: operations["get_upload"];
        put?: never;
        post?: never;
        /** Forgets an upload. */
        delete: operations["delete_upload"];
        options?: never;
        head?: never;
        /** Adds a part, which begins where the one before it ended. What came of one that broke off counts. */
        patch: operations["append_upload"];
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/uploads/{upload}/deployment": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Builds and deploys an upload that is whole. It stays for its day, so that it can be deployed again. */
        post: operations["deploy_upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/uploads/{upload}/proposal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A `weir.toml` for an upload that is whole, with the reasons for its lines. Nothing is built. */
        get: operations["get_proposal"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/variables": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists variables; values of secrets are never given out. */
        get: operations["list_variables"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Sets and unsets any number of variables at once, and makes one release of it. */
        patch: operations["update_variables"];
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The volumes of an environment that exist. */
        get: operations["list_volumes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes/{volume}/archive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * A folder with all that is in it, as one archive, written while it is read. Links are in it as
         *     links; sockets, pipes and devices are not in it.
         */
        get: operations["archive_files"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes/{volume}/content": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The content of a file. One range is answered with that part of it. */
        get: operations["read_file"];
        /** Writes a file of at most 4 MiB as a whole. */
        put: operations["write_file"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes/{volume}/files": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A folder of a volume, by name. */
        get: operations["list_files"];
        put?: never;
        post?: never;
        /** Removes a file, or a folder with all that is in it. */
        delete: operations["delete_files"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes/{volume}/folders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes a folder. */
        post: operations["create_folder"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes/{volume}/moves": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Moves a file or a folder to where nothing is. */
        post: operations["move_file"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins an upload of a file, or of a tar that is unpacked into a folder. */
        post: operations["create_file_upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads/{upload}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How much of an upload is there. One that was whole when Weir was stopped gets its place now. */
        get: operations["get_file_upload"];
        put?: never;
        post?: never;
        /** Forgets an upload. What is in the volume stays. */
        delete: operations["delete_file_upload"];
        options?: never;
        head?: never;
        /** Adds a part. With the last one the file gets its place, or the tar is unpacked. */
        patch: operations["append_file_upload"];
        trace?: never;
    };
    "/v1/roles": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What the roles may: from the one table that every request is decided by. */
        get: operations["list_roles"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/service-accounts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Service accounts of what the one who asks looks after, with their tokens. */
        get: operations["list_service_accounts"];
        put?: never;
        /** Makes a service account with a role. It belongs to where its role is. */
        post: operations["create_service_account"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/service-accounts/{account}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Removes a service account with its roles and tokens. */
        delete: operations["delete_service_account"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/service-accounts/{account}/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes a token of a service account. The answer is the only place where its secret is ever shown. */
        post: operations["create_service_token"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How far the one who asks is in signing in. Needs nothing, and is always answered. */
        get: operations["get_session"];
        put?: never;
        /** Signs in with a mail address and a password. */
        post: operations["create_session"];
        /** Signs out, here. */
        delete: operations["end_session"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session/second-factor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Gives the code of the second factor, after the password. */
        post: operations["confirm_session"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/setup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Makes the first person, who owns everything, with the token in `DIR/admin-token`. Possible only while
         *     there is nobody.
         */
        post: operations["set_up"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists tasks, newest first, of what the one who asks may see. */
        get: operations["list_tasks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks/{task}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One task. */
        get: operations["get_task"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tasks/{task}/log": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The lines of a task. With `Accept: text/event-stream` or `follow=true` as server-sent events:
         *     `line` with the sequence as id, and at last `end` with the task; `Last-Event-ID` resumes.
         */
        get: operations["get_task_log"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/time-zone": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** In which time zone periods begin and dates are understood. */
        get: operations["get_time_zone"];
        /** Sets it, for the whole Weir. Periods that run end when they were to end. */
        put: operations["set_time_zone"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists tokens, without their secrets. */
        get: operations["list_tokens"];
        put?: never;
        /** Makes a token. The answer is the only place where its secret is ever shown. */
        post: operations["create_token"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tokens/{token}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Takes a token away; it is refused from the next request on. */
        delete: operations["delete_token"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/whoami": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Who asks. */
        get: operations["get_whoami"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description `POST /v1/invitations/accept`. */
        AcceptInvitation: {
            /** @description Absent for who is signed in, and where the invitation names one. */
            email?: string | null;
            /** @description Absent for who is signed in. */
            name?: string | null;
            /** @description Absent for who is signed in. */
            password?: string | null;
            /** @description From the link. */
            secret: string;
        };
        /** @description Answer to what takes time: watch the task. `task` is absent where nothing was to do. */
        Accepted: {
            /** @description One line for people. */
            message: string;
            /** @description The task to watch. */
            task?: string | null;
        };
        /** @description Whether requests are logged, and where the lines are shipped to. */
        AccessLog: {
            /** @description By app. */
            apps: components["schemas"]["AccessLogApp"][];
            shipping?: null | components["schemas"]["AccessLogShipping"];
        };
        /** @description Whether requests to one app are logged. */
        AccessLogApp: {
            /** @description The app. */
            app: string;
            /** @description `off`, `on` or `with-query`. */
            logging: string;
            /** @description Whether it is the one that is meant when none is named. */
            main: boolean;
            /** @description Whether that was set here; otherwise `weir.toml` says so. */
            set: boolean;
        };
        /** @description Where the lines of an environment are shipped to. */
        AccessLogShipping: {
            /** @description Whether it may be on this machine or in a private network. */
            allow_private: boolean;
            /** @description Why the last batch was not taken. */
            problem?: string | null;
            /** @description When the newest line was written that the collector has taken, RFC 3339. */
            sent_until?: string | null;
            /** @description The collector. */
            url: string;
        };
        /** @description Somebody with a password. */
        AccessUser: {
            /** @description The name to give with the password. */
            name: string;
            /** @description When the password was set, RFC 3339. */
            set: string;
        };
        /** @description Who pays. */
        Account: {
            /** @description What can be spent of all funds, less debt. */
            balance: string;
            /** @description Whether its balance bounds what is spent. Off: only caps do. */
            billing: boolean;
            /** @description Paid in, and left. */
            cash: string;
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description Owed: promises that were not kept. */
            debt: string;
            /** @description When the promised payment falls due. */
            due?: string | null;
            /** @description Held ahead: leased to what runs, and the tail of what is stored. In no fund any more. */
            held: string;
            /** @description Identity. */
            id: string;
            /** @description Name. */
            name: string;
            /** @description Its projects. */
            projects: string[];
            /** @description Promised to be paid, and left. */
            promised: string;
            /** @description Which project stops first when the balance ends; those that are not named stop before. */
            stop_order: string[];
            /** @description In which dates are understood and months begin; a name of the IANA database. */
            time_zone?: string;
            /** @description Given to begin with, and left. */
            trial: string;
        };
        /** @description `POST …/domains`. */
        AddDomain: {
            /** @description The app that answers; absent: the environment's main app. */
            app?: string | null;
            /** @description The host name. */
            host: string;
        };
        /** @description `GET /v1/ledger/audit`: the journal replayed and compared with the books. */
        Audit: {
            /**
             * Format: int64
             * @description Environments of which what nodes served was compared with what is paid, each once for
             *     every series of runs of a node.
             */
            accesses: number;
            /** @description When it was made. */
            at: string;
            /**
             * Format: int64
             * @description Checkpoints that were compared with the replay.
             */
            checkpoints: number;
            /**
             * Format: int64
             * @description Entries of the journal that were replayed.
             */
            events: number;
            /** @description What is not as it has to be, each one line; at most 100. */
            findings: string[];
            /**
             * @description Hash of the newest entry, in hex. Written down elsewhere, it proves later that nothing
             *     before it was changed.
             */
            hash: string;
            /**
             * Format: int64
             * @description Hourly rows of what was used that were compared.
             */
            hours: number;
            /**
             * Format: int64
             * @description Leases whose holders' counters were compared.
             */
            leases: number;
            /** @description Whether nothing was found. */
            sound: boolean;
            /**
             * Format: int64
             * @description Requests that were paid for and not served, or not known to be because a node was killed.
             */
            unserved_requests: number;
        };
        /** @description Something that was done, or refused. */
        AuditEntry: {
            /** @description From where. */
            address: string;
            /** @description With what, as it says itself. */
            agent: string;
            /** @description When. */
            at: string;
            /** @description What is worth knowing besides. */
            detail: string;
            /** @description `POST /v1/projects/{project}/environments`. */
            operation: string;
            /** @description `done`, `refused` or `failed`. */
            outcome: string;
            /** @description As in the header `X-Request-Id` of the answer. */
            request: string;
            /** @description As what: `developer`, `admin token`; `none` where nothing allowed it. */
            role: string;
            /** @description `weir`, `account:NAME`, `PROJECT`, `PROJECT/ENVIRONMENT`. */
            scope: string;
            /**
             * Format: int64
             * @description Rises.
             */
            sequence: number;
            /**
             * Format: int64
             * @description Status of the answer.
             */
            status: number;
            /** @description What it was about besides: a host, an identity. */
            target: string;
            /** @description Who. */
            who: components["schemas"]["AuditWho"];
        };
        /** @description Who did something. */
        AuditWho: {
            /** @description Identity. */
            id?: string | null;
            /** @description `person`, `token`, `service-account` or `unknown`. */
            kind: string;
            /** @description Name; of somebody unknown, what they said. */
            name: string;
        };
        /** @description An instance that works although no request is in flight there. */
        BackgroundWork: {
            /** @description The app. */
            app: string;
            /**
             * Format: int64
             * @description CPU time used since, in milliseconds.
             */
            cpu_ms: number;
            /** @description The instance. */
            instance: string;
            /** @description Its process. */
            process: string;
            /** @description Since when. */
            since: string;
            /** @description Whether it is slowed down for it. */
            slowed: boolean;
        };
        /** @description Which outside systems are connected. */
        Billing: {
            outside?: null | components["schemas"]["OutsideSystem"];
            /** @description How many records are in which state. */
            records: components["schemas"]["RecordCounts"];
            /** @description Whether top-ups are taken from a payment system. */
            topups: boolean;
        };
        /** @description A record for the outside system, and how far it is. */
        BillingRecord: {
            /** @description Name of the account. */
            account: string;
            /** @description Of money. */
            amount: string;
            /** @description What the outside system said last. */
            answer?: string | null;
            /**
             * Format: int32
             * @description How many attempts have failed since it was written, or since somebody had it tried again.
             */
            attempts: number;
            /** @description As it is sent; only of a single record. */
            body?: string | null;
            /** @description When it was written. */
            created: string;
            /** @description Identity: the last part of its path there, and its `Idempotency-Key`. */
            id: string;
            /** @description `usage`, `invoice` or `credit-note`. */
            kind: string;
            /** @description When it is tried next; absent if it is not. */
            next?: string | null;
            /** @description What is wrong. */
            problem?: string | null;
            /** @description SHA-256 of the body, in hex. */
            sha256: string;
            /** @description … since then. */
            since: string;
            /** @description `pending`, `unconfirmed`, `confirmed` or `failed` … */
            state: string;
        };
        /** @description They are forgotten: every node has said so. */
        CachePurged: {
            /**
             * Format: int64
             * @description Rises with each purge.
             */
            number: number;
        };
        /**
         * @description `GET …/cache`: what is kept of an environment's answers, over all nodes, and how often that helped
         *     since they started.
         */
        CacheStatus: {
            /**
             * Format: int64
             * @description Bytes of memory that they take.
             */
            bytes: number;
            /**
             * Format: int64
             * @description Bytes on disk that they take.
             */
            disk_bytes?: number;
            /**
             * Format: int64
             * @description Answers that are kept.
             */
            entries: number;
            /**
             * Format: double
             * @description The part of them that needed no new answer of the app, from 0 to 1; absent before the first.
             */
            hit_rate?: number | null;
            /**
             * Format: int64
             * @description Requests that were answered without asking the app.
             */
            hits: number;
            /**
             * Format: int64
             * @description Requests whose answer was then kept.
             */
            misses: number;
            /**
             * Format: int64
             * @description Requests that were answered after the app had said that what is kept still holds.
             */
            revalidated: number;
            /**
             * Format: int64
             * @description Requests that were answered by what was not fresh any more, as it allowed.
             */
            stale: number;
        };
        /** @description How one of the two releases does. */
        CanaryRelease: {
            /** @description Whether it is the canary. */
            canary: boolean;
            /**
             * Format: int64
             * @description Of all requests, those that were answered with 500 to 599, or not at all.
             */
            failed: number;
            /**
             * Format: int64
             * @description Requests that go on.
             */
            in_flight: number;
            /**
             * Format: int32
             * @description Instances of it that answer.
             */
            instances: number;
            /**
             * Format: int64
             * @description Its number.
             */
            release: number;
            /**
             * Format: int64
             * @description Requests that these have answered since they started.
             */
            requests: number;
        };
        /** @description A release that gets a part of the requests, beside the one that serves. */
        CanaryStatus: {
            /** @description Requests with this header get it whatever the share is. */
            header?: string | null;
            /** @description Whether it is on its way to get everything. */
            promoted: boolean;
            /** @description The release that serves, then the canary. */
            releases: components["schemas"]["CanaryRelease"][];
            /** @description The part of the visitors that gets it: `5 %`. */
            share: string;
            /** @description Since when it gets requests. */
            since: string;
        };
        /** @description What a scope may cost. */
        Cap: {
            /** @description Most that is spent in one period. */
            limit: string;
            /** @description Whether the money is let out slowly after a burst. */
            pace: boolean;
            /** @description `day`, `week`, `month` or `total`. */
            period: string;
        };
        /** @description What a change of a cap means. */
        CapChange: {
            after?: null | components["schemas"]["Cap"];
            before?: null | components["schemas"]["Cap"];
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description Whether it was done, or only told. */
            done: boolean;
            /** @description The limit in force then: what is spent and held already, where the cap is below that. */
            limit?: string | null;
            /** @description What is to be known besides, each one line. */
            notes: string[];
            /** @description When the cap stops it at the worst; absent where it does not within the period. */
            reached_at_worst?: string | null;
            /** @description As `weir cap set` takes it. */
            scope: string;
            /** @description Spent and held in this period. */
            spent_and_held: string;
            /** @description What instances cost per hour that use all the memory and CPU time they may. */
            worst_per_hour: string;
            /** @description The same for 730 hours. */
            worst_per_month: string;
        };
        /** @description How a scope stands: what it may cost, and how much of that is gone. */
        CapStanding: {
            /** @description Spent per hour, over the last minutes. */
            burn_per_hour: string;
            cap?: null | components["schemas"]["Cap"];
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description The period began. */
            from: string;
            /** @description Held ahead: for what runs now, and for the tail of what is stored. */
            held: string;
            /** @description `account`, `project` or `environment`. */
            kind: string;
            /** @description What is left of the limit in force. */
            left?: string | null;
            /** @description The limit in force: the cap's, or what was spent and held when the cap was set below that. */
            limit?: string | null;
            /** @description When the cap is reached at the present pace; absent where it is not within the period. */
            reached?: string | null;
            /** @description When the cap is reached at the worst; absent where it is not within the period. */
            reached_at_worst?: string | null;
            /** @description Of `held`: the tail of what is stored. */
            reserved: string;
            /** @description As `weir cap set` takes it: `account:default`, `shop`, `shop/staging`. */
            scope: string;
            /** @description Spent in this period. */
            settled: string;
            stopped?: null | components["schemas"]["Stopped"];
            /** @description The period ends; absent for `total`. */
            until?: string | null;
            /** @description What instances cost per hour that use all the memory and CPU time they may. */
            worst_per_hour: string;
        };
        /** @description A certificate that is there. */
        Certificate: {
            /** @description When it begins. */
            begins: string;
            /** @description It has ended. */
            ended: boolean;
            /** @description When it ends. */
            ends: string;
            /** @description Identity. */
            id: string;
            /** @description Host names; `*.example.org` covers one label. */
            names: string[];
            /** @description `authority` or `uploaded`. */
            origin: string;
            /** @description After an upload: the host names that were added and that it serves. */
            serves?: string[];
        };
        /** @description The authority that certificates are from, and the zone in which records are made. */
        CertificateAuthority: {
            /** @description Addresses under which the world reaches this Weir. */
            addresses: string[];
            /** @description When its terms were agreed to. */
            agreed?: string | null;
            /** @description Where it writes to, if something is wrong. */
            contact?: string | null;
            /** @description URL of its directory (RFC 8555); absent: no authority is asked. */
            directory?: string | null;
            /**
             * Format: int32
             * @description The port that it asks at by HTTP.
             */
            http_port: number;
            /** @description It is one of somebody's own: its site is vouched for by a root of its own. */
            private: boolean;
            /** @description How records are made in DNS, for a wildcard of Weir's own names: `hook`, `zone`, or `none`. */
            records: string;
            /** @description Looks names up, instead of the machine's own resolver. */
            resolver?: string | null;
            /**
             * Format: int32
             * @description The port that it asks at by TLS.
             */
            tls_port: number;
            /** @description The zone in which they are made. */
            zone?: string | null;
        };
        /** @description A change of state. Server-sent events of `GET /v1/events`: event `change`. */
        Change: {
            /** @description When. */
            at: string;
            /** @description Name of the environment. */
            environment?: string | null;
            /** @description `deployment.live`, `deployment.failed`, `instance.crashed`, `environment.paused` … */
            kind: string;
            /** @description One line for people. */
            message: string;
            /** @description Name of the project. */
            project: string;
            /**
             * Format: int64
             * @description Rises; resume with `Last-Event-ID`.
             */
            sequence: number;
        };
        /** @description `PUT /v1/me/password`. */
        ChangePassword: {
            /** @description The one that holds. */
            current: string;
            /** @description 12 characters at least. */
            new: string;
        };
        /** @description What goes on in one class of the requests to a process. */
        ClassStatus: {
            /** @description Its name; `default` for requests without a class. */
            class: string;
            /**
             * Format: int32
             * @description How many of its requests an instance gets at once.
             */
            concurrency: number;
            /**
             * Format: int64
             * @description Requests at instances now.
             */
            in_flight: number;
            /**
             * Format: int64
             * @description Requests that were refused since the node started, because so many waited.
             */
            refused_full: number;
            /**
             * Format: int64
             * @description Requests that waited in vain since the node started.
             */
            refused_late: number;
            /**
             * Format: int64
             * @description Requests that wait for a place.
             */
            waiting: number;
        };
        /** @description Who is told about money. */
        Contact: {
            /** @description The account whose money it is. */
            account: string;
            /** @description Mail address or URL. */
            address: string;
            /** @description It may lead to the machine itself and to private networks. */
            allow_private: boolean;
            /** @description `email` or `webhook`. */
            channel: string;
            /** @description When it was added. */
            created: string;
            /** @description Identity. */
            id: string;
            /** @description The only project that it is told of, beside what concerns the account; absent for all. */
            project?: string | null;
            /** @description What webhooks are signed with; told once, when it is added. */
            secret?: string | null;
        };
        /** @description What something cost. What the report was not asked to tell apart is absent. */
        CostLine: {
            /** @description What it cost. */
            amount: string;
            /** @description The app. */
            app?: string | null;
            /** @description Begin of the hour, day or month. */
            at?: string | null;
            /** @description The environment. */
            environment?: string | null;
            price?: null | components["schemas"]["Price"];
            /**
             * Format: int32
             * @description By which version of the prices.
             */
            price_version?: number | null;
            /** @description The process. */
            process?: string | null;
            /** @description The project. */
            project?: string | null;
            /** @description What was used: `requests`, `cpu`, …; `lost` for what went with a crash. */
            sku?: string | null;
            /** @description How much, in raw units of the SKU. */
            units?: string | null;
        };
        /** @description `GET …/cost`. */
        CostReport: {
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description From when. */
            from: string;
            /** @description Sorted by time, then by name. */
            lines: components["schemas"]["CostLine"][];
            /** @description The part of `total` that went with crashes of nodes: counted against the caps, not billed. */
            lost: string;
            /** @description In which days and months begin, and dates are understood; a name of the IANA database. */
            time_zone?: string;
            /** @description What all lines cost, to the last unit. */
            total: string;
            /** @description Until when; what is still being used is in it up to the last report of its node. */
            until: string;
        };
        /** @description `POST /v1/accounts`. */
        CreateAccount: {
            /** @description 1 to 30 of `a-z 0-9 -`. */
            name: string;
        };
        /** @description A contact to be added. */
        CreateContact: {
            /** @description All projects of this account; `default` if neither is named. */
            account?: string | null;
            /** @description Mail address or URL. */
            address: string;
            /** @description The URL may lead to the machine itself and to private networks, also without TLS. */
            allow_private?: boolean;
            /** @description `email` or `webhook`. */
            channel: string;
            /** @description Only this project, and what concerns its account as a whole. */
            project?: string | null;
        };
        /** @description `POST …/deployments`: make an existing release live. */
        CreateDeployment: {
            /** @description `rollback` or `restart`, or `redeploy` for what `--no-deploy` left waiting. */
            kind: string;
            /**
             * Format: int64
             * @description The release to roll back to; absent: the one that was live before.
             */
            release?: number | null;
        };
        /** @description `POST /v1/accounts/{account}/deposits`. */
        CreateDeposit: {
            /** @description Above 0. */
            amount: string;
            /** @description `cash` or `trial`. */
            fund: string;
            /** @description Made by the caller; the same one again with the same content changes nothing. */
            id: string;
            /** @description What it was: the number of a bank transfer, say. */
            reference: string;
        };
        /** @description `POST /v1/projects/{project}/environments`. */
        CreateEnvironment: {
            /** @description The branch that it follows; absent: only promotion deploys here. */
            branch?: string | null;
            /** @description 1 to 30 of `a-z 0-9 -`. */
            name: string;
        };
        /** @description `POST …/volumes/{volume}/uploads`. */
        CreateFileUpload: {
            /** @description `file`, or `tree`: a tar, plain or gzip, that is unpacked into the folder `path`. */
            kind: string;
            /** @description For people: name of the file or the folder. */
            name: string;
            /** @description Where it comes. */
            path: string;
            /** @description Whether files that are there are replaced; if not, 409 `file-exists`. */
            replace?: boolean;
            /**
             * Format: int64
             * @description Bytes in all.
             */
            size: number;
        };
        /** @description `POST …/volumes/{volume}/folders`. */
        CreateFolder: {
            /** @description Where; the folder that it is in has to be there. */
            path: string;
        };
        /** @description `POST /v1/help`. */
        CreateHelp: {
            /** @description Adds how things stand in the environment that it is about. */
            attach?: boolean;
            /** @description What it is about. */
            scope?: string | null;
            /** @description One line of 1 to 200 characters. */
            subject: string;
            /** @description 1 to 20,000 characters. */
            text: string;
        };
        /** @description `POST /v1/help/{request}/messages`. */
        CreateHelpMessage: {
            /** @description 1 to 20,000 characters. */
            text: string;
        };
        /** @description `POST /v1/invitations`. */
        CreateInvitation: {
            /** @description For whom; absent: for whoever has the link. */
            email?: string | null;
            /**
             * Format: int32
             * @description 1 to 30; 7 if absent.
             */
            expires_days?: number | null;
            /** @description What they get. */
            grants: components["schemas"]["RoleGrant"][];
        };
        /** @description An invoice to be made, of a month or of another stretch that is over. */
        CreateInvoice: {
            /** @description For whom. */
            account: string;
            /** @description A date (its beginning in the time zone of the account) or an instant at a full hour. */
            from: string;
            /** @description The same; not included. */
            until: string;
        };
        /** @description `POST /v1/projects`. */
        CreateProject: {
            /** @description The account that pays for it, for good; `default` if absent. */
            account?: string | null;
            /** @description The branch that production follows; `main` if absent. */
            branch?: string | null;
            /** @description 1 to 30 of `a-z 0-9 -`. */
            name: string;
        };
        /** @description `POST /v1/accounts/{account}/promises`. */
        CreatePromise: {
            /** @description Above 0. */
            amount: string;
            /** @description Until when it will be paid: an instant in the future. */
            due: string;
            /** @description Made by the caller; the same one again with the same content changes nothing. */
            id: string;
        };
        /** @description `POST /v1/service-accounts`. */
        CreateServiceAccount: {
            /** @description Its role, and where. */
            grant: components["schemas"]["RoleGrant"];
            /** @description 1 to 40 of `a-z 0-9 -`. */
            name: string;
        };
        /** @description `POST /v1/service-accounts/{account}/tokens`. */
        CreateServiceToken: {
            /**
             * Format: int32
             * @description 1 to 3650; never ends if absent.
             */
            expires_days?: number | null;
            /** @description What it is for. */
            name: string;
            /** @description `read`, `deploy` or `admin`: the most of the account's roles that it uses; `admin` (all) if absent. */
            scope?: string | null;
        };
        /** @description `POST /v1/session`. */
        CreateSession: {
            /** @description Mail address. */
            email: string;
            /** @description Password. */
            password: string;
        };
        /** @description `POST /v1/tokens`. */
        CreateToken: {
            /**
             * Format: int32
             * @description Days until it is refused.
             */
            expires_days?: number | null;
            /** @description What it is for. */
            name: string;
            /** @description The only project that it may touch. */
            project?: string | null;
            /** @description `read`, `deploy` or `admin`. */
            scope: string;
        };
        /** @description `POST …/uploads`. */
        CreateUpload: {
            /** @description For people: name of the folder or the archive. */
            name: string;
            /**
             * Format: int64
             * @description Bytes in all; 2 GiB at most.
             */
            size: number;
        };
        /** @description A credit note to be made. */
        CreditInvoice: {
            /** @description Lines of the invoice; empty for all that are not taken back yet. */
            lines?: number[];
            /** @description Why. */
            reason: string;
        };
        /** @description `POST …/uploads/{upload}/deployment`. */
        DeployUpload: {
            /** @description The part of the visitors that gets it first, like `5%`; absent: all. */
            canary?: string | null;
            /** @description Requests with this header get it whatever the part is, like `X-Canary: yes`. */
            canary_header?: string | null;
            /** @description One line on what it is. */
            message?: string | null;
            /** @description A `weir.toml` that takes the place of the one in the source. */
            toml?: string | null;
        };
        /** @description A deployment. */
        Deployment: {
            /** @description Who asked for it: a person's mail address, or the name of a token. */
            by?: string | null;
            /** @description When it was asked for. */
            created: string;
            /** @description When its present state was entered. */
            entered: string;
            /** @description Identity. */
            id: string;
            /** @description `release`, `rollback`, `restart`. */
            kind: string;
            /** @description Why it failed. */
            reason?: string | null;
            /**
             * Format: int64
             * @description Number of the release.
             */
            release: number;
            /**
             * @description `pending`, `releasing`, `starting`, `holding`, `switching`, `live`, `retired`, `failed`,
             *     `superseded`.
             */
            state: string;
            /** @description Every state that it has entered, in order. Only in lists. */
            steps?: components["schemas"]["DeploymentStep"][];
            /** @description The task to watch. */
            task: string;
        };
        /** @description A state that a deployment has entered. */
        DeploymentStep: {
            /** @description When it was entered. */
            entered: string;
            /** @description As in `Deployment`. */
            state: string;
        };
        /** @description What an outside system is told of an invoice or a credit note. */
        DocumentRecord: {
            /** @description Name of the account. */
            account: string;
            /** @description Its identity. */
            account_id: string;
            /** @description The total, with tax; of a credit note below zero. */
            amount: string;
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description What is on it. */
            document: components["schemas"]["InvoiceDocument"];
            /** @description When it got its number. */
            finalized: string;
            /** @description Identity. */
            id: string;
            /** @description `invoice` or `credit-note`. */
            kind: string;
            /** @description In the series. */
            number: string;
        };
        /** @description A host name. */
        Domain: {
            /** @description The app that answers; absent: the main app. */
            app?: string | null;
            certificate?: null | components["schemas"]["DomainCertificate"];
            /** @description The host name. */
            host: string;
            /**
             * Format: int32
             * @description For so many seconds browsers are to come only with TLS (HSTS); 0 says nothing.
             */
            hsts_s?: number;
            /**
             * @description Whether requests without TLS are sent to the same address with it, once there is a
             *     certificate.
             */
            https_redirect?: boolean;
            /** @description Given by Weir itself. */
            platform: boolean;
            /** @description Another host that everybody is sent to. */
            redirect_to?: string | null;
            /** @description The TCP service that it leads to, by TLS at the https port. */
            tcp?: string | null;
            /** @description Complete address. */
            url: string;
        };
        /** @description How a host name stands with its certificate. */
        DomainCertificate: {
            /** @description What that means, and what is wrong. */
            detail: string;
            /** @description When the one in force ends. */
            ends?: string | null;
            /** @description What to do. */
            hint?: string | null;
            /** @description When Weir looks at it next by itself. */
            next?: string | null;
            /** @description `valid`, `issuing`, `waiting`, `limited`, `failing`, or `none` where it gets none. */
            state: string;
        };
        /** @description What became of `PUT …/domains`. */
        DomainsPut: {
            /** @description The host names that the environment did not have before. */
            added: string[];
            /** @description All that were given. */
            domains: components["schemas"]["Domain"][];
        };
        /** @description What is wrong with an entry of a list. */
        EntryProblem: {
            /** @description Which one, from 1. */
            entry: number;
            /** @description One line for people. */
            title: string;
        };
        /** @description An environment, as in lists. */
        Environment: {
            /** @description The branch that it follows. */
            branch?: string | null;
            /** @description Identity. */
            id: string;
            /** @description `active`, `paused` or `destroying`. */
            mode: string;
            /** @description Name. */
            name: string;
            /**
             * Format: int64
             * @description Number of the release that serves.
             */
            release?: number | null;
            /** @description Where its main app answers. */
            url: string;
        };
        /** @description The money line of an environment's status. */
        EnvironmentMoney: {
            /** @description The cap that leaves it the least. */
            cap: components["schemas"]["Cap"];
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description What is left of it. */
            left: string;
            /** @description Whose cap that is, as `weir cap set` takes it. */
            scope: string;
            /** @description Spent by the environment in this period. */
            spent: string;
            stopped?: null | components["schemas"]["Stopped"];
        };
        /** @description `GET /v1/projects/{project}/environments/{environment}`: what runs, from reality. */
        EnvironmentStatus: {
            deployment?: null | components["schemas"]["Deployment"];
            /** @description One line on what is the matter, if anything. */
            detail?: string | null;
            /** @description Hosts with what answers. */
            domains: components["schemas"]["Domain"][];
            /** @description The environment. */
            environment: components["schemas"]["Environment"];
            /**
             * @description In one word: `running`, `deploying`, `degraded`, `crashed`, `paused`, `empty`,
             *     `destroying`.
             */
            health: string;
            maintenance?: null | components["schemas"]["Maintenance"];
            money?: null | components["schemas"]["EnvironmentMoney"];
            /** @description Processes with their instances. */
            processes: components["schemas"]["ProcessStatus"][];
            /** @description Name of the project. */
            project: string;
            /** @description Requests that were not let through since the nodes started. */
            refused?: components["schemas"]["RefusedRequests"];
        };
        /** @description Why a line stands in a `weir.toml`. */
        Explanation: {
            /** @description Which line, from 1. */
            line: number;
            /** @description What it says. */
            text: string;
        };
        /** @description Something in a volume. */
        FileEntry: {
            /**
             * Format: int64
             * @description Length; 0 for what is no file.
             */
            bytes: number;
            /** @description `file`, `folder`, `link` or `other`. */
            kind: string;
            /** @description In octal, like `0644`. */
            mode: string;
            /** @description When its content was changed last. */
            modified: string;
            /** @description For people: what is not UTF-8 is replaced. */
            name: string;
            /** @description As it is to be sent. */
            path: string;
            /** @description Where a link leads to. */
            target?: string | null;
        };
        /** @description A folder of a volume, or a part of it. */
        Folder: {
            /** @description By name. */
            entries: components["schemas"]["FileEntry"][];
            /** @description Whether there is more: ask with `after`, the last part of the last path. */
            more: boolean;
            /** @description Where it is. */
            path: string;
        };
        /** @description `GET …/guard`: the rules against runaways of an environment, and what they caught. */
        Guard: {
            /** @description Instances that work although no request is in flight there. */
            background?: components["schemas"]["BackgroundWork"][];
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description By app. */
            rules: components["schemas"]["GuardRules"][];
            /** @description Lately refused (or, where the guard is off, seen) and warned of, newest first. */
            trips: components["schemas"]["GuardTrip"][];
        };
        /** @description The rules for one app. */
        GuardRules: {
            /** @description The app. */
            app: string;
            /** @description What happens when an instance works although no request is in flight there. */
            background: components["schemas"]["OnBackground"];
            /**
             * Format: int64
             * @description Of them, those that the guard lets pass: fewer where the number was not set and a tenth of
             *     the cap pays for fewer.
             */
            budget: number;
            /**
             * Format: int32
             * @description Longest chain of calls from one request from outside.
             */
            depth: number;
            /**
             * Format: int64
             * @description Most calls that may descend from one request from outside.
             */
            descendants: number;
            /** @description Whether the guard refuses. Off, it only watches and tells. */
            enabled: boolean;
            /**
             * Format: int32
             * @description Most times that the same content is asked for among them; 0 for no limit.
             */
            repeats: number;
            /** @description Whether a service whose own calls multiply is cut off before any of the limits. */
            reproduction: boolean;
            /** @description Whether they were set; else they are the defaults. */
            set: boolean;
            /**
             * @description What the calls that descend from one request from outside may cost at worst by these
             *     rules; absent where the guard is off, so that only the cap bounds it.
             */
            worst_per_root?: string | null;
        };
        /** @description The guard has refused calls, or seen what it would have refused, or warns. */
        GuardTrip: {
            /** @description The app that was called. */
            app: string;
            /** @description When. */
            at: string;
            /** @description The chain of calls, from the request from outside to the one that was refused. */
            chain: string[];
            /**
             * Format: int64
             * @description The limit.
             */
            limit: number;
            /**
             * Format: int64
             * @description What was measured; for reproduction in thousandths, for growth in milliseconds, for
             *     background work in thousandths of a core.
             */
            measured: number;
            /** @description Its process. */
            process: string;
            /** @description Whether the calls were refused. */
            refused: boolean;
            /** @description `depth`, `descendants`, `repeats`, `reproduction`, `growth` or `background`. */
            rule: string;
            /** @description Whether it only comes close to what the rule refuses; `limit` is what it warns of. */
            warning?: boolean;
        };
        /** @description State of the platform. Status 200 once everything is ready, else 503. */
        Health: {
            /** @description Suffix of the hosts that Weir gives: `localhost`. */
            domain: string;
            /** @description Address of the ingress, as people reach it: `127.0.0.1:8080`. */
            ingress: string;
            /**
             * @description Which Weir this is: the value of the label `weir.installation` of all it has in Docker,
             *     and the content of the file `installation` in its data folder.
             */
            installation?: string;
            /** @description What it waits for, by part: `engine`, `node`, `store`; `ok` or the reason. */
            parts: {
                [key: string]: string;
            };
            /** @description `ready` or `starting`. */
            status: string;
            /** @description Version of Weir. */
            version: string;
        };
        /** @description How things stand in an environment. */
        HelpContext: {
            /** @description When. */
            at: string;
            /**
             * @description Status, newest deployment, newest log lines, names of variables, caps: as far as whoever asks may
             *     see them. Values of variables are left out.
             */
            parts: components["schemas"]["HelpContextPart"][];
        };
        /** @description A part of how things stand. */
        HelpContextPart: {
            /** @description Plain text; of a long one the end. */
            text: string;
            /** @description What it is. */
            title: string;
        };
        /** @description Something that was said. */
        HelpMessage: {
            /** @description When. */
            at: string;
            /** @description Who: a mail address, or the name of a token. */
            by: string;
            /** @description `hlm_…`. */
            id: string;
            /** @description From whoever runs Weir, and not from the one who asked. */
            operator: boolean;
            /** @description Plain text. */
            text: string;
        };
        /** @description A question to those who run Weir. */
        HelpRequest: {
            /** @description Who asked: a mail address, or the name of a token. */
            by: string;
            context?: null | components["schemas"]["HelpContext"];
            /** @description When. */
            created: string;
            /** @description `hlp_…`. */
            id: string;
            /** @description What was said, oldest first; absent in lists. */
            messages?: components["schemas"]["HelpMessage"][] | null;
            /** @description What it is about: `shop/staging`, `shop`, `account:default`; absent: nothing in particular. */
            scope?: string | null;
            /** @description `open`: waits for an answer; `answered`: waits for who asked; `closed`. */
            state: string;
            /** @description One line. */
            subject: string;
            /** @description When anything was last said or changed. */
            updated: string;
        };
        /** @description An app whose image differs. */
        ImageDifference: {
            /** @description The app. */
            app: string;
            /** @description `added`, `removed` or `changed`. */
            change: string;
        };
        /** @description One running copy of a process. */
        Instance: {
            background?: null | components["schemas"]["BackgroundWork"];
            /**
             * Format: int32
             * @description How often its predecessor crashed in a row.
             */
            crashes: number;
            /** @description Identity. */
            id: string;
            /** @description Last lines of its log, where it crashed. */
            last_lines?: string[];
            /** @description Why, if it is not ready. */
            reason?: string | null;
            /**
             * Format: int64
             * @description Number of the release that it runs.
             */
            release: number;
            /** @description When it was started. */
            started: string;
            /** @description `starting`, `ready`, `asleep`, `unhealthy`, `draining`, `frozen`, `exited`, `crashed`. */
            state: string;
        };
        /** @description How many instances of a process are to run. */
        InstanceNumber: number | {
            /**
             * Format: int32
             * @description At most.
             */
            max: number;
            /**
             * Format: int32
             * @description At least.
             */
            min: number;
        };
        /** @description From how many to how many instances. */
        InstanceRange: {
            /**
             * Format: int32
             * @description At most.
             */
            max: number;
            /**
             * Format: int32
             * @description At least; 0 where it is stopped while nobody asks for it.
             */
            min: number;
        };
        /** @description A link by which somebody gets roles. */
        Invitation: {
            /** @description When it was made. */
            created: string;
            /** @description Who made it. */
            created_by: string;
            /** @description For whom; absent: for whoever has the link. */
            email?: string | null;
            /** @description Until when it holds. */
            expires: string;
            /** @description What they get. */
            grants: components["schemas"]["RoleGrant"][];
            /** @description Identity. */
            id: string;
            /** @description Likewise: path of the page, with the secret behind `#`, where no log has it. */
            link?: string | null;
            /** @description Only in the answer to the request that made it: the secret. */
            secret?: string | null;
        };
        /** @description What an invitation offers. */
        InvitationOffer: {
            /** @description From whom. */
            created_by: string;
            /** @description For whom. */
            email?: string | null;
            /** @description Until when. */
            expires: string;
            /** @description What they get. */
            grants: components["schemas"]["RoleGrant"][];
        };
        /** @description `POST /v1/invitations/look`. */
        InvitationSecret: {
            /** @description From the link. */
            secret: string;
        };
        /** @description An invoice or a credit note. */
        Invoice: {
            /** @description When it was made. */
            created: string;
            /** @description What is on it. */
            document: components["schemas"]["InvoiceDocument"];
            /** @description When it got its number. */
            finalized?: string | null;
            /** @description Identity. */
            id: string;
            /** @description `invoice` or `credit-note`. */
            kind: string;
            /** @description Absent for drafts. */
            number?: string | null;
            /** @description `draft`, `final` or `credited`. */
            state: string;
        };
        /** @description What is on an invoice. Amounts are in the currency's smallest unit that is paid, tax included. */
        InvoiceDocument: {
            /** @description The account. */
            account: string;
            /** @description The identity of the invoice that a credit note takes back. */
            credits?: string | null;
            /** @description Its number. */
            credits_number?: string | null;
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description Name and address, in lines. */
            customer: string;
            /** @description What was used from then on … */
            from: string;
            /** @description By project, environment, kind of use and version of the prices. */
            lines: components["schemas"]["InvoiceLine"][];
            /** @description Total less tax. */
            net: string;
            /** @description Why. */
            reason?: string | null;
            /** @description Total less what the ledger has: rounding of the lines. */
            rounding: string;
            /** @description Name and address, in lines. */
            seller: string;
            /** @description Of the total: tax. */
            tax: string;
            /** @description Of the total, in percent: `19`, `7.5`. */
            tax_percent: string;
            /** @description In which dates on the paper are; a name of the IANA database. */
            time_zone?: string;
            /** @description The sum of the lines, with tax. */
            total: string;
            /** @description … and before then. */
            until: string;
        };
        /** @description A line of an invoice. */
        InvoiceLine: {
            /** @description The same, rounded once. */
            amount: string;
            /** @description The environment. */
            environment: string;
            /** @description What the ledger has, to the last digit. */
            exact: string;
            /**
             * Format: int32
             * @description From 1; on a credit note, that of the invoice.
             */
            number: number;
            /** @description For example `0.10 per million`. */
            price: string;
            /**
             * Format: int32
             * @description The version of the prices.
             */
            price_version: number;
            /** @description The project. */
            project: string;
            /** @description How much, in the unit of the price. */
            quantity: string;
            /** @description What was used. */
            sku: string;
        };
        /** @description What is the same on all invoices. */
        InvoiceSettings: {
            /**
             * @description Whether each month's invoice is made and numbered by itself, for accounts with billing on
             *     and as soon as there is a seller.
             */
            automatic?: boolean;
            /** @description Name and address of the seller, in lines. */
            seller: string;
            /** @description Numbers: `{year}`, and `{number}` or, filled up with zeros, `{number:05}`. */
            series: string;
            /** @description Part of the prices, in percent with at most two digits behind the point. */
            tax_percent: string;
        };
        /**
         * @description An entry of the ledger's journal, for an independent checker. `docs/reference/ledger.md`
         *     says what the hash covers.
         */
        JournalEntry: {
            /**
             * Format: int64
             * @description When it was decided, in milliseconds since the Unix epoch.
             */
            at_ms: number;
            /** @description The event: JSON as it was hashed, to the byte. */
            body: string;
            /** @description Hash of this one, in hex. */
            hash: string;
            /** @description Hash of the entry before, in hex. */
            previous_hash: string;
            /**
             * Format: int64
             * @description 1, 2, 3 …, without gaps.
             */
            sequence: number;
        };
        /** @description The event `end` of `GET /v1/live`; the stream ends. */
        LiveEnd: {
            /** @description `signed-out` or `restarting`. */
            reason: string;
        };
        /** @description The event `refused` of `GET /v1/live`: nothing comes of this topic any more. */
        LiveRefused: {
            /** @description Why. */
            problem: components["schemas"]["Problem"];
            /** @description The topic. */
            topic: string;
        };
        /** @description The event `state` of `GET /v1/live`. */
        LiveState: {
            /** @description It was so at this instant, or newer. */
            at: string;
            /** @description `Overview`, `EnvironmentStatus`, `ReleaseState`, or a list of `Domain`, `CapStanding`, `Task`. */
            data: unknown;
            /** @description As it was asked for: `environment:shop/production`. */
            topic: string;
        };
        /** @description The event `tick` of `GET /v1/live`: all that was sent was true at this instant, or newer. */
        LiveTick: {
            /** @description The instant. */
            at: string;
        };
        /** @description The event `gap` of `GET …/logs?follow=true`: lines went before they could be read. */
        LogGap: {
            /** @description The app whose lines they were. */
            app: string;
            /** @description The line that follows them, if it is known. */
            before?: string | null;
            /**
             * Format: int64
             * @description How many.
             */
            lines: number;
        };
        /**
         * @description One line of a log. Server-sent events of `GET …/logs?follow=true`: event `line`, with the same
         *     identity, and [`LogGap`].
         */
        LogLine: {
            /** @description The app. */
            app: string;
            /** @description When it was written. */
            at: string;
            /** @description Unique in the environment; sorts, as text, as the lines do; stays as long as the line is kept. */
            id?: string;
            /** @description The instance. */
            instance?: string | null;
            /** @description The process; `build` for builds. */
            process: string;
            /** @description `stdout`, `stderr`, `weir`. */
            stream: string;
            /** @description Without line end. */
            text: string;
        };
        /** @description `GET …/loss`: what destroying an environment would lose. */
        Loss: {
            /** @description Host names of one's own. */
            domains: string[];
            /** @description What is told besides, each one line. */
            notes: string[];
            /**
             * Format: int64
             * @description Releases that could be rolled back to.
             */
            releases: number;
            /** @description Secrets. */
            secrets: number;
            /** @description Volumes with what they hold. */
            volumes: components["schemas"]["LostVolume"][];
        };
        /** @description A volume that would be lost. */
        LostVolume: {
            /** @description The app. */
            app: string;
            /**
             * Format: int64
             * @description What it holds.
             */
            bytes: number;
            /** @description Name. */
            name: string;
        };
        /** @description A secret that was made. */
        MadeSecret: {
            /** @description It is not shown again; `null` if none was made. */
            secret?: string | null;
        };
        /** @description An environment that is closed for a while: visitors get a 503 that says so. */
        Maintenance: {
            /** @description Addresses and networks that get through all the same. */
            allow: string[];
            /** @description Whether there is a secret link that lets a browser through. */
            bypass?: boolean;
            /** @description What visitors are told. */
            message?: string | null;
            /** @description Whether visitors get a page of the owner's. */
            own_page: boolean;
            /** @description Since when, RFC 3339. */
            since: string;
            /** @description Until when, as far as was said, RFC 3339. It does not end by itself. */
            until?: string | null;
        };
        /** @description Who is signed in. */
        Me: {
            /** @description All that they may: their roles, those for an account repeated for each of its projects. */
            may: components["schemas"]["RoleGrant"][];
            /** @description Whether there is a password. */
            password: boolean;
            /** @description The person. */
            person: components["schemas"]["Person"];
            /** @description Identity of the session that asks. */
            session: string;
            /** @description Whether a second factor is on. */
            totp: boolean;
        };
        /** @description A release became live. */
        MetricMark: {
            /** @description When. */
            at: string;
            /** @description `release`, `rollback` or `restart`. */
            kind: string;
            /**
             * Format: int64
             * @description Number of the release.
             */
            release: number;
        };
        /** @description One figure over time. */
        MetricSeries: {
            /** @description With `by=process`: of which app; absent for what belongs to no app. */
            app?: string | null;
            /**
             * @description `requests`, `errors`, `latency_p50`, `latency_p95`, `latency_p99`, `cpu`, `memory`, `instances`,
             *     `egress`, `cost`.
             */
            name: string;
            /** @description With `by=process`: of which process; absent for what belongs to no process. */
            process?: string | null;
            /** @description `1/s`, `s`, `cores`, `bytes`, `bytes/s`, `instances`, or a currency with `/h`. */
            unit: string;
            /** @description A value for each step; `null` where nothing was measured, which is not 0. */
            values: (number | null)[];
        };
        /**
         * @description `GET …/metrics`: what happened in an environment, in steps of equal length. Points lie on whole steps
         *     since 1970; the last one may still grow.
         */
        Metrics: {
            /** @description The beginning of the first step. */
            from: string;
            /** @description Releases that became live within, oldest first; the newest 500. */
            marks: components["schemas"]["MetricMark"][];
            /** @description Those that were asked for, in a fixed order. */
            series: components["schemas"]["MetricSeries"][];
            /**
             * Format: int32
             * @description Seconds of a step.
             */
            step_s: number;
            /** @description The end of the last step, or now. */
            until: string;
        };
        /** @description `POST …/volumes/{volume}/moves`. */
        MoveFile: {
            /** @description What. */
            from: string;
            /** @description Where to; nothing may be there. */
            to: string;
        };
        /** @description Something that a contact is told. */
        Notice: {
            /** @description Mail address or URL. */
            address: string;
            /**
             * Format: int32
             * @description How often it was tried.
             */
            attempts: number;
            /** @description Whom it is for. */
            contact: string;
            /** @description When it was handed in. */
            created: string;
            /** @description Identity; the receiver sees the same one however often it is delivered. */
            id: string;
            /** @description `money.crossed`, `money.stopped`, `money.resumed`, `money.forecast`, `guard.tripped` … */
            kind: string;
            /** @description While it waits: when it is tried next; afterwards: when it was done with. */
            next: string;
            /** @description What went wrong at the last attempt. */
            problem?: string | null;
            /** @description `waiting`, `sent` or `given-up`. */
            state: string;
            /** @description One line. */
            subject: string;
        };
        /**
         * @description What happens when an instance that answers requests works although none is in flight there.
         * @enum {string}
         */
        OnBackground: "allow" | "tell" | "slow";
        /** @description The system that is told of usage, invoices and credit notes. */
        OutsideSystem: {
            /** @description It may lead to the machine itself and to private networks. */
            allow_private: boolean;
            /** @description What records are signed with; told once, and only if Weir has made it. */
            secret?: string | null;
            /** @description What was used, or became final, from then on is told. */
            since: string;
            /** @description Records are put below it. */
            url: string;
        };
        /** @description `GET /v1/overview`: all that runs, on one page. Only what the one who asks may see. */
        Overview: {
            /** @description How accounts stand; only those whose money may be seen. */
            accounts: components["schemas"]["CapStanding"][];
            /** @description Sorted by name. */
            environments: components["schemas"]["OverviewEnvironment"][];
            /** @description What a person should look at, worst first, 20 at most. */
            troubles: components["schemas"]["Trouble"][];
        };
        /** @description An environment in the overview. */
        OverviewEnvironment: {
            /** @description One line on what is the matter, if anything. */
            detail?: string | null;
            /** @description Name of the environment. */
            environment: string;
            /**
             * Format: double
             * @description Of those, the ones that were answered with 500 to 599, or not at all.
             */
            errors_per_s: number;
            /** @description As in `EnvironmentStatus`. */
            health: string;
            money?: null | components["schemas"]["OverviewMoney"];
            /** @description Name of the project. */
            project: string;
            /**
             * Format: int32
             * @description Instances that are ready.
             */
            ready: number;
            /**
             * Format: int64
             * @description Number of the release that serves.
             */
            release?: number | null;
            /** @description Since when it serves. */
            released?: string | null;
            /**
             * Format: double
             * @description Requests per second that its instances have answered in the last minute.
             */
            requests_per_s: number;
            /** @description Where its main app answers. */
            url: string;
            /**
             * Format: int32
             * @description Instances that should run.
             */
            wanted: number;
        };
        /** @description What an environment costs, and the cap that is nearest above it. */
        OverviewMoney: {
            /** @description What the environment spends per hour, over the last minutes. */
            burn_per_hour: string;
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description The limit in force there; absent where nothing is bound. */
            limit?: string | null;
            /** @description `day`, `week`, `month` or `total`. */
            period?: string | null;
            /** @description When that cap is reached at the present pace; absent where it is not within the period. */
            reached?: string | null;
            /** @description The scope of the cap: the environment, or else its project, or else its account. */
            scope: string;
            /** @description Spent in that scope in this period. */
            spent: string;
            /** @description Whether the environment spends nothing more at present. */
            stopped: boolean;
        };
        /** @description The session that asked goes on, under a new cookie. */
        PasswordChanged: {
            /** @description For `X-Weir-CSRF` from now on. */
            csrf: string;
            /**
             * Format: int64
             * @description How many other sessions were ended.
             */
            ended: number;
        };
        /** @description A person. */
        Person: {
            /** @description When they came. */
            created: string;
            /** @description Mail address, in lower case. */
            email: string;
            /** @description Their roles, as far as the one who asks may see them. */
            grants: components["schemas"]["RoleGrant"][];
            /** @description Identity. */
            id: string;
            /** @description `en`, `ru`. */
            language?: string | null;
            /** @description When they were last seen, to the minute. */
            last_seen?: string | null;
            /** @description As others see it. */
            name: string;
            /** @description `active` or `suspended`. */
            state: string;
            /** @description Whether a second factor is on. */
            totp: boolean;
        };
        /** @description A price: so much money for so many raw units. */
        Price: {
            /** @description Raw units. */
            per: string;
            /** @description Millionths of a millionth of the currency. */
            pico: string;
            /** @description For people: `1.00 per GiB-month`. */
            text: string;
        };
        /** @description A version of all prices. */
        PriceBook: {
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description Whether what is leased now is leased by it. */
            in_force: boolean;
            /** @description The prices, by SKU. */
            prices: components["schemas"]["SkuPrice"][];
            /** @description As the file that `weir prices publish` takes. */
            toml: string;
            /** @description From when it holds for what is leased anew. */
            valid_from: string;
            /**
             * Format: int32
             * @description 1, 2, 3 …
             */
            version: number;
        };
        /** @description What a new version of the prices changes. */
        PriceChange: {
            /** @description Prices that differ from those of the version before. */
            changes: components["schemas"]["SkuChange"][];
            /** @description Whether it was published, or only looked at. */
            done: boolean;
            /** @description From when it holds. */
            valid_from: string;
            /**
             * Format: int32
             * @description The version that was published, or would be.
             */
            version: number;
        };
        /** @description RFC 9457: what went wrong, and what to do next. */
        Problem: {
            /** @description More for people: where, which value. */
            detail?: string | null;
            /** @description Where a list was given: what is wrong with its entries. */
            entries?: components["schemas"]["EntryProblem"][];
            /** @description The next step: a command to type. */
            hint?: string | null;
            /**
             * Format: int32
             * @description HTTP status.
             */
            status: number;
            /** @description One line for people. */
            title: string;
            /** @description Stable and machine-readable: `project-not-found`, `name-taken`, `invalid-input` … */
            type: string;
        };
        /** @description A process that differs. */
        ProcessDifference: {
            /** @description `added`, `removed` or `changed`. */
            change: string;
            /** @description What is different, in words. */
            detail: string;
            /** @description `app.process`. */
            process: string;
        };
        /** @description A process of an app with its instances. */
        ProcessStatus: {
            /** @description The app. */
            app: string;
            /** @description What goes on in the classes of its requests, the default one first; none if it has none. */
            classes?: components["schemas"]["ClassStatus"][];
            /** @description The command, if not the image's own. */
            command?: string | null;
            /**
             * Format: int32
             * @description CPU limit of an instance, in thousandths of a core.
             */
            cpu_milli: number;
            /** @description What becomes of instances that nobody asks anything of: `freeze` or `stop`; absent: nothing. */
            idle?: string | null;
            /** @description All instances, those that end included. */
            instances: components["schemas"]["Instance"][];
            /**
             * Format: int64
             * @description Memory limit of an instance, in bytes.
             */
            memory_bytes: number;
            /** @description The process. */
            process: string;
            range?: null | components["schemas"]["InstanceRange"];
            /**
             * Format: int32
             * @description How many are ready.
             */
            ready: number;
            /** @description The TCP services that it answers. */
            tcp?: components["schemas"]["TcpServiceStatus"][];
            /**
             * Format: int32
             * @description How many instances should run now.
             */
            wanted: number;
        };
        /** @description A project. */
        Project: {
            /** @description When it was created. */
            created: string;
            /** @description Whether it is being destroyed. */
            destroying: boolean;
            /** @description Its environments. */
            environments: components["schemas"]["Environment"][];
            /** @description Where to push: `http://CONTROL/git/NAME.git`. */
            git_url: string;
            /** @description Identity. */
            id: string;
            /** @description Name. */
            name: string;
            /** @description Where production answers. */
            url: string;
        };
        /** @description `POST …/promote`. */
        Promote: {
            /** @description The environment whose live images are to run here. */
            from: string;
        };
        /** @description A `weir.toml` for a source, as detection sees it. */
        Proposal: {
            /** @description What was found. */
            apps: components["schemas"]["ProposedApp"][];
            /** @description Why a line stands in it. */
            explanations: components["schemas"]["Explanation"][];
            /** @description The `weir.toml` in the source, if there is one. */
            present?: string | null;
            /** @description What is wrong or missing. */
            problems: components["schemas"]["ProposalProblem"][];
            /** @description A whole `weir.toml`. */
            toml: string;
            worst?: null | components["schemas"]["ProposedWorst"];
        };
        /** @description What is wrong or missing in a source. */
        ProposalProblem: {
            /** @description The next step. */
            hint?: string | null;
            /** @description Line of `weir.toml`, from 1, where it can be told. */
            line?: number | null;
            /** @description One line for people. */
            title: string;
        };
        /** @description An app of a source. */
        ProposedApp: {
            /** @description Its name. */
            app: string;
            /** @description What was found, and where. */
            because: string;
            /** @description Its folder in the source; `.` for the root. */
            folder: string;
            /** @description `python`, `node`, `static`, `dockerfile` or `image`. */
            kind: string;
        };
        /** @description What instances cost that use all they may, all the time. */
        ProposedWorst: {
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description When the tightest cap stops it at the worst; absent where that is not within its period. */
            reached_at_worst?: string | null;
            /** @description The scope of that cap. */
            scope: string;
            /** @description In an hour. */
            worst_per_hour: string;
            /** @description In a month. */
            worst_per_month: string;
        };
        /** @description Who may pass, what is closed, and what was refused. What `weir.toml` says is not in it. */
        Protection: {
            /**
             * @description The path of the link past the maintenance that was asked for with `bypass`, on every host of the
             *     environment. It is told once; only its hash is kept.
             */
            bypass_path?: string | null;
            maintenance?: null | components["schemas"]["Maintenance"];
            /** @description What was not let through. */
            refused: components["schemas"]["RefusedRequests"];
            /** @description Who may pass to the whole environment; everybody if there is nobody. */
            users: components["schemas"]["AccessUser"][];
        };
        /** @description `POST /v1/prices`. */
        PublishPrices: {
            /** @description Only tell what would change. */
            dry_run?: boolean;
            /** @description The file. */
            toml: string;
        };
        /** @description `POST …/cache/purge`: which answers are to be forgotten; all of the environment if nothing is named. */
        PurgeCache: {
            /** @description Only under this host. */
            host?: string | null;
            /** @description Only this path, with any query; with `*` at the end everything that begins so. */
            path?: string | null;
        };
        /** @description `PUT …/domains`: all or none. What is absent stays as it is, or is as usual. */
        PutDomains: {
            /** @description The app that answers; usually the environment's main app. */
            app?: string | null;
            /** @description The host names; those that the environment has already are fine. */
            hosts: string[];
            /**
             * Format: int32
             * @description For so many seconds browsers are to come only with TLS (HSTS); usually 0, which says nothing.
             */
            hsts_s?: number | null;
            /** @description Whether requests without TLS are sent to the same address with it; usually they are. */
            https_redirect?: boolean | null;
            /** @description Another host that everybody is sent to; empty: none any more. */
            redirect_to?: string | null;
            /** @description The TCP service that they lead to, by TLS at the https port; `""`: they answer HTTP. */
            tcp?: string | null;
        };
        /** @description A QR code. */
        QrPicture: {
            /** @description The dark ones, as the path of an SVG with a view box of this size. */
            path: string;
            /**
             * Format: int32
             * @description Width and height in modules, without the white rim that belongs around it.
             */
            size: number;
        };
        /** @description How many records are in which state. */
        RecordCounts: {
            /**
             * Format: int64
             * @description Read back as they were sent.
             */
            confirmed: number;
            /**
             * Format: int64
             * @description Not tried any more until somebody asks for it.
             */
            failed: number;
            /**
             * Format: int64
             * @description To be sent.
             */
            pending: number;
            /**
             * Format: int64
             * @description The outside system says that it has them; that is not proven yet.
             */
            unconfirmed: number;
        };
        /** @description What an outside system answers when a record is read back. Other fields do not matter. */
        RecordShown: {
            /** @description Of the record. */
            amount: string;
            /** @description Of the record. */
            id: string;
            /** @description SHA-256 of the body of the record as it is kept there, in hex. */
            sha256: string;
        };
        /** @description Codes that let one in once each, when the app is lost. Shown once. */
        RecoveryCodes: {
            /** @description The codes. */
            codes: string[];
        };
        /** @description Requests that were not let through since the nodes started, by the reason. */
        RefusedRequests: {
            /**
             * Format: int64
             * @description From an address that may not pass.
             */
            address: number;
            /**
             * Format: int64
             * @description Too large.
             */
            body: number;
            /**
             * Format: int64
             * @description Closed for maintenance.
             */
            maintenance: number;
            /**
             * Format: int64
             * @description Without a password that is right.
             */
            password: number;
            /**
             * Format: int64
             * @description More than a rate lets pass.
             */
            rate: number;
        };
        /** @description A release. */
        Release: {
            /** @description Who asked for it: a person's mail address, or the name of a token. */
            by?: string | null;
            /** @description Commit, in hex, if it came from a push. */
            commit?: string | null;
            /** @description When it was made. */
            created: string;
            /** @description One line: commit and message, names of variables, … */
            description: string;
            /** @description Identity. */
            id: string;
            /** @description App to image. */
            images: {
                [key: string]: string;
            };
            /** @description Whether it serves. */
            live: boolean;
            /** @description First line of the commit's message, or of the upload's. */
            message?: string | null;
            /**
             * Format: int64
             * @description 1, 2, 3 … in the environment.
             */
            number: number;
            /** @description What became of its latest deployment: `live`, `failed`, … */
            outcome?: string | null;
            /** @description `push`, `upload`, `configuration`, `promotion`. */
            source: string;
        };
        /** @description `GET …/releases/{number}/difference`: what making it live changes. */
        ReleaseDifference: {
            /** @description Commit of the one that it is compared with. */
            commit_from?: string | null;
            /** @description Commit of the one that would be live. */
            commit_to?: string | null;
            /**
             * Format: int64
             * @description The release that it is compared with; absent where nothing serves.
             */
            from?: number | null;
            /** @description Apps whose images differ. */
            images: components["schemas"]["ImageDifference"][];
            /** @description What stays, and what does not happen again; each one line. */
            notes: string[];
            /** @description Processes that differ. */
            processes: components["schemas"]["ProcessDifference"][];
            /**
             * Format: int64
             * @description The release that would be live.
             */
            to: number;
            /** @description Variables that differ; values are never shown. */
            variables: components["schemas"]["VariableDifference"][];
        };
        /** @description The newest releases and deployments of an environment; the topic `releases`. */
        ReleaseState: {
            /** @description Newest first, 20 at most. */
            deployments: components["schemas"]["Deployment"][];
            /** @description Newest first, 20 at most. */
            releases: components["schemas"]["Release"][];
        };
        /** @description A link by which somebody sets a new password. */
        ResetLink: {
            /** @description Until when it holds. */
            expires: string;
            /** @description Path of the page, with the secret behind `#`, where no log has it. */
            path: string;
            /** @description The secret in it; it works once. */
            secret: string;
        };
        /** @description How many records are tried again. */
        Retried: {
            /**
             * Format: int64
             * @description So many.
             */
            records: number;
        };
        /** @description A role for a scope. */
        RoleGrant: {
            /** @description `viewer`, `billing`, `developer`, `admin` or `owner`. */
            role: string;
            /** @description `weir` (all of it), `account:NAME`, `PROJECT` or `PROJECT/ENVIRONMENT`; it holds for all that is in it. */
            scope: string;
        };
        /** @description What a role may. */
        RoleRights: {
            /** @description The operations of this description that it may ask for. */
            may: string[];
            /** @description `see`, `deploy`, `set-caps` … */
            permissions: string[];
            /** @description `viewer`, `billing`, `developer`, `admin` or `owner`. */
            role: string;
        };
        /** @description What the roles may. */
        RoleTable: {
            /** @description Each role. */
            roles: components["schemas"]["RoleRights"][];
        };
        /** @description A code of the second factor. */
        SecondFactor: {
            /** @description Six digits, or a recovery code, which works once. */
            code: string;
        };
        /** @description A program that acts by itself. */
        ServiceAccount: {
            /** @description When it was made. */
            created: string;
            /** @description By whom. */
            created_by: string;
            /** @description Its roles. */
            grants: components["schemas"]["RoleGrant"][];
            /** @description Identity. */
            id: string;
            /** @description Name. */
            name: string;
            /** @description Where it belongs. */
            scope: string;
            /** @description Its tokens, without their secrets. */
            tokens: components["schemas"]["Token"][];
        };
        /**
         * @description Text frames of the WebSockets `…/run` and `…/exec`. Binary frames carry bytes: from the
         *     client what the command reads; from Weir one byte (1 standard output, 2 standard error) and
         *     what the command wrote.
         */
        SessionMessage: {
            /**
             * Format: int32
             * @description Columns.
             */
            columns: number;
            /**
             * Format: int32
             * @description Rows.
             */
            rows: number;
            /** @enum {string} */
            type: "resize";
        } | {
            /** @enum {string} */
            type: "eof";
        } | {
            /**
             * Format: int64
             * @description Exit status.
             */
            status: number;
            /** @enum {string} */
            type: "exit";
        } | {
            /** @description Why. */
            message: string;
            /** @enum {string} */
            type: "error";
        };
        /** @description How far somebody is in signing in. */
        SessionState: {
            /** @description What belongs into the header `X-Weir-CSRF` of what changes something. */
            csrf?: string | null;
            me?: null | components["schemas"]["Me"];
            /** @description Other ways to sign in. */
            providers: components["schemas"]["SignInProvider"][];
            /** @description `setup` (nobody is there yet), `signed-out`, `second-factor` (the code is missing), `signed-in`. */
            state: string;
            /** @description Version of Weir. */
            version: string;
        };
        /** @description A password for somebody. */
        SetAccess: {
            /** @description 8 to 512 bytes. Only its hash is kept. */
            password: string;
        };
        /** @description Switches the access log of an app. */
        SetAccessLog: {
            /** @description The app; absent: the only one, or the main app. */
            app?: string | null;
            /**
             * @description `off`, `on` or `with-query` (with the query of URLs, in which secrets may be); `null`: as
             *     `weir.toml` says.
             */
            logging?: string | null;
        };
        /** @description Ships lines to a collector. */
        SetAccessLogShipping: {
            /** @description It may be on this machine or in a private network, and without TLS. */
            allow_private?: boolean;
            /** @description What batches are signed with, 32 to 200 characters; absent: the present one, or a new one. */
            secret?: string | null;
            /** @description Gets batches of lines by POST; `https://…`. */
            url: string;
        };
        /** @description `PUT /v1/accounts/{account}/billing`. */
        SetBilling: {
            /** @description Whether the balance bounds what is spent. */
            on: boolean;
        };
        /** @description `PUT …/canary`. What is not given stays as it is. */
        SetCanary: {
            /** @description Requests with this header get it whatever the share is: `X-Canary: yes`. */
            header?: string | null;
            /** @description The part of the visitors that gets it: `25%`. */
            share?: string | null;
        };
        /** @description `PUT …/cap`. */
        SetCap: {
            /** @description Only tell what would be. */
            dry_run?: boolean;
            /** @description Most that may be spent in one period: above 0, at most nine digits after the point. */
            limit: string;
            /**
             * @description Whether the money is let out slowly after a burst; absent: as it was, and for a first cap
             *     only for projects.
             */
            pace?: boolean | null;
            /** @description `day`, `week`, `month` or `total`. */
            period: string;
        };
        /** @description `PUT /v1/certificate-authority`. What is absent is as usual. */
        SetCertificateAuthority: {
            /**
             * @description Addresses under which the world reaches this Weir. A name that leads nowhere else is not
             *     looked at any closer.
             */
            addresses?: string[];
            /** @description Its terms are agreed to; without that no authority issues anything. */
            agree_terms?: boolean;
            /** @description Mail address to which it writes if something is wrong. */
            contact?: string | null;
            /** @description URL of its directory (RFC 8555); usually that of Let's Encrypt. */
            directory?: string | null;
            /**
             * Format: int32
             * @description The port that it asks at by HTTP; only for an authority of one's own, others take 80.
             */
            http_port?: number | null;
            /** @description Name server that looks names up, instead of the machine's own resolver. */
            resolver?: string | null;
            /** @description Who vouches for its site, in PEM; only for an authority of one's own. */
            root?: string | null;
            /**
             * Format: int32
             * @description The port that it asks at by TLS; only for an authority of one's own, others take 443.
             */
            tls_port?: number | null;
        };
        /** @description `PUT /v1/certificate-dns`: a zone in which Weir makes records by signed updates (RFC 2136). */
        SetCertificateDns: {
            /** @description `hmac-sha256`, `hmac-sha384` or `hmac-sha512`; usually the first. */
            algorithm?: string | null;
            /** @description The key in base64. Never shown again. */
            key: string;
            /** @description Name of the key. */
            key_name: string;
            /** @description Address of the name server that takes updates: `192.0.2.53`, `192.0.2.53:5353`. */
            server: string;
            /**
             * Format: int32
             * @description Seconds until the zone's other servers know a record, too; usually 30.
             */
            wait_s?: number | null;
            /** @description What it is the master of: `example.org`. */
            zone: string;
        };
        /** @description Whom invoices of an account are for. */
        SetCustomer: {
            /** @description Name and address, in lines. */
            address: string;
        };
        /** @description `PUT /v1/people/{person}/grants`: takes the place of all roles that the one who asks may see. */
        SetGrants: {
            /** @description All of them. */
            grants: components["schemas"]["RoleGrant"][];
        };
        /** @description Closes an environment. */
        SetMaintenance: {
            /**
             * @description Addresses and networks that get through all the same, like `203.0.113.9` or `10.0.0.0/8`.
             * @default []
             */
            allow: string[];
            /**
             * @description Makes a secret link that lets whoever opens it through until the end of the maintenance; one of
             *     before holds no more.
             * @default false
             */
            bypass: boolean;
            /**
             * @description What visitors are told; at most 1000 bytes.
             * @default null
             */
            message: string | null;
            /**
             * @description A page in HTML for visitors, at most 65536 bytes. It may neither load nor run anything.
             * @default null
             */
            page: string | null;
            /**
             * @description When it will probably be over, RFC 3339; visitors' programs come again then.
             * @default null
             */
            until: string | null;
        };
        /** @description The system that is to be told of usage, invoices and credit notes. */
        SetOutside: {
            /** @description It may lead to the machine itself and to private networks, also without TLS. */
            allow_private?: boolean;
            /**
             * @description What records are signed with, 32 to 200 printable characters. If absent, it stays as it is,
             *     or one is made.
             */
            secret?: string | null;
            /**
             * @description An instant: what was used, or became final, from then on is told. If absent, it stays as it
             *     is, or is now.
             */
            since?: string | null;
            /** @description Records are put below it. */
            url: string;
        };
        /** @description `PUT …/scale`. Keys are `process` (of the main app) or `app.process`. */
        SetScale: {
            /**
             * @description Number of instances by process: a number from 0 to 100, or `{"min": 1, "max": 5}` where it
             *     is to follow the requests (`min` 0: stopped while nobody asks for it).
             */
            processes: {
                [key: string]: components["schemas"]["InstanceNumber"];
            };
        };
        /** @description `PUT /v1/accounts/{account}/stop-order`. */
        SetStopOrder: {
            /** @description Names of projects: the first stops first. Those that are not named stop before. */
            projects: string[];
        };
        /** @description The payment system that top-ups are taken from. */
        SetTopups: {
            /** @description What it signs with, 32 to 200 printable characters; one is made if it is absent. */
            secret?: string | null;
        };
        /** @description One variable to set. */
        SetVariable: {
            /** @description Builds see it too. */
            build?: boolean;
            /** @description Keep it sealed and never show it again. */
            secret?: boolean;
            /** @description At most 64 KiB. */
            value: string;
        };
        /** @description `POST /v1/setup`: the first person, who owns everything. */
        Setup: {
            /** @description The token in `DIR/admin-token`. */
            admin_token: string;
            /** @description Mail address. */
            email: string;
            /** @description As others see it. */
            name: string;
            /** @description 12 characters at least. */
            password: string;
        };
        /** @description Somebody else who says who people are. */
        SignInProvider: {
            /** @description Identity, as in the path. */
            id: string;
            /** @description For people. */
            name: string;
        };
        /** @description A browser in which somebody is signed in. */
        SignedIn: {
            /** @description From where it was last used. */
            address: string;
            /** @description What the browser says that it is. */
            agent: string;
            /** @description When it began. */
            created: string;
            /** @description The one that asks. */
            current: boolean;
            /** @description When it ends, however often it is used. */
            expires: string;
            /** @description Identity. */
            id: string;
            /** @description When it was last used, to the minute. */
            last_used: string;
            /** @description `password`, `totp`, `recovery-code`, `invitation`, `setup`. */
            method: string;
        };
        /** @description A price that changes. */
        SkuChange: {
            after?: null | components["schemas"]["Price"];
            before?: null | components["schemas"]["Price"];
            /** @description The kind of use. */
            sku: string;
        };
        /** @description What a kind of use costs. */
        SkuPrice: {
            /** @description The price. */
            price: components["schemas"]["Price"];
            /** @description The kind of use. */
            sku: string;
        };
        /** @description Why nothing more is spent, and what to do. */
        Stopped: {
            /** @description The next step. */
            hint: string;
            /** @description Until when what an environment stores is kept without money; then it is deleted. */
            kept_until?: string | null;
            /** @description One line for people. */
            message: string;
            /** @description `environment-cap`, `project-cap`, `account-cap`, `balance`, `pace`, `recalling`, `gone`. */
            reason: string;
        };
        /** @description A task. */
        Task: {
            /** @description When it was asked for. */
            created: string;
            /** @description When it ended. */
            ended?: string | null;
            /** @description Name of the environment. */
            environment?: string | null;
            /** @description Why it failed. */
            error?: string | null;
            /** @description Identity. */
            id: string;
            /** @description `push`, `deploy`, `pause`, `resume`, `scale`, `destroy`. */
            kind: string;
            /** @description Name of the project. */
            project: string;
            /** @description `queued`, `running`, `done`, `failed`, `superseded`. */
            state: string;
            /** @description The step that it is at. */
            step: string;
            /** @description One line. */
            title: string;
        };
        /**
         * @description One line of a task's log. Server-sent events of `GET /v1/tasks/{task}/log`: event `line`
         *     with this, its id the sequence; at the end event `end` with the [`Task`].
         */
        TaskLine: {
            /** @description When it was written. */
            at: string;
            /** @description `step`, `info`, `output`, `error`, `hint`. */
            kind: string;
            /**
             * Format: int64
             * @description 1, 2, 3 …
             */
            sequence: number;
            /** @description Without line end. */
            text: string;
        };
        /** @description A service that speaks TCP, and where it is reached. */
        TcpServiceStatus: {
            /** @description That port with a host name that leads to this machine. */
            address?: string | null;
            /** @description Names and port by which it is reached with TLS. */
            hosts?: string[];
            /** @description Its name. */
            name: string;
            /**
             * Format: int32
             * @description The port of the machine at which it is reached, if it has one.
             */
            port?: number | null;
            /** @description Who ends the TLS of those that come by name: `end` (Weir) or `passthrough` (the app). */
            tls?: string | null;
        };
        /**
         * @description In which civil time the periods of caps and the months of invoices begin, and dates are
         *     understood; one for the whole Weir.
         */
        TimeZone: {
            /** @description A name of the IANA database: `Europe/Berlin`, `UTC`. */
            time_zone: string;
        };
        /** @description A token. `secret` is given once, when it is created. */
        Token: {
            /** @description When it was created. */
            created: string;
            /** @description When it ends. */
            expires?: string | null;
            /** @description Identity. */
            id: string;
            /** @description When it was last used, to the minute. */
            last_used?: string | null;
            /** @description What it is for. */
            name: string;
            /** @description The only project that it may touch. */
            project?: string | null;
            /** @description `read`, `deploy` or `admin`. */
            scope: string;
            /** @description The token itself. */
            secret?: string | null;
            /** @description The service account whose token it is. */
            service_account?: string | null;
        };
        /** @description Money that a payment system has taken in. */
        Topup: {
            /** @description Name of the account. */
            account: string;
            /** @description Above zero, in whole cents (or what the currency has): `10.00`. */
            amount: string;
            /** @description That of the prices: three capital letters (ISO 4217). */
            currency: string;
            /** @description Made by the payment system: the same id with the same content is booked once. */
            id: string;
            /** @description Of the payment, for people. */
            reference: string;
        };
        /** @description What top-ups are to be signed with. */
        TopupsSecret: {
            /** @description Told once, and only if Weir has made it. */
            secret?: string | null;
        };
        /** @description A secret for an app that makes codes; not in force before a code confirms it. */
        TotpSecret: {
            /** @description The same as a picture. */
            qr: components["schemas"]["QrPicture"];
            /** @description Base32, for typing. */
            secret: string;
            /** @description `otpauth://totp/…` */
            uri: string;
        };
        /** @description Money that moved. */
        Transfer: {
            /** @description How much; above 0. */
            amount: string;
            /** @description When. */
            at: string;
            /** @description From which account of the double entry. */
            from: string;
            /** @description Identity. */
            id: string;
            /** @description What it was. */
            reference: string;
            /** @description To which. */
            to: string;
        };
        /** @description What a person should look at. */
        Trouble: {
            /** @description Name of the environment, if it is about one. */
            environment?: string | null;
            /** @description `crashed`, `degraded`, `deployment-failed`, `stopped`, `cap-soon`, `certificate`, `runaway`. */
            kind: string;
            /** @description One line for people. */
            message: string;
            /** @description Name of the project. */
            project: string;
            /** @description `error` or `warning`. */
            severity: string;
            /** @description Since when, where that is known. */
            since?: string | null;
        };
        /** @description `PATCH /v1/projects/{project}/environments/{environment}`. */
        UpdateEnvironment: {
            /** @description The branch to follow from now on. */
            branch: string;
        };
        /** @description `PATCH …/guard`: what is absent stays as it is. */
        UpdateGuard: {
            /** @description The app; absent: the only one, or the main app. */
            app?: string | null;
            background?: null | components["schemas"]["OnBackground"];
            /**
             * Format: int32
             * @description 1 to 1000.
             */
            depth?: number | null;
            /**
             * Format: int64
             * @description 1 to 1,000,000.
             */
            descendants?: number | null;
            /** @description Whether the guard refuses. */
            enabled?: boolean | null;
            /**
             * Format: int32
             * @description 0 for no limit.
             */
            repeats?: number | null;
            /** @description Whether a service whose own calls multiply is cut off. */
            reproduction?: boolean | null;
        };
        /** @description `PATCH /v1/help/{request}`. */
        UpdateHelp: {
            /** @description `open` or `closed`. */
            state: string;
        };
        /** @description `PATCH /v1/me`. */
        UpdateMe: {
            /** @description `en`, `ru`. */
            language?: string | null;
            /** @description As others see it. */
            name?: string | null;
        };
        /** @description `PATCH /v1/people/{person}`. */
        UpdatePerson: {
            /** @description `active` or `suspended`. */
            state: string;
        };
        /** @description `PATCH …/variables`: sets and unsets any number at once and makes one release of it. */
        UpdateVariables: {
            /** @description Whether to wait with a release (`--no-deploy`). */
            no_deploy?: boolean;
            /** @description To set. */
            set?: {
                [key: string]: components["schemas"]["SetVariable"];
            };
            /** @description To remove. */
            unset?: string[];
        };
        /** @description An upload. */
        Upload: {
            /** @description It is forgotten then; every part gives it another day. */
            expires: string;
            /** @description Its identity. */
            id: string;
            /** @description What of a `tree` was left out because it is neither a file nor a folder. */
            left_out?: string[];
            /**
             * Format: int64
             * @description Bytes that are there.
             */
            received: number;
            /**
             * Format: int64
             * @description Bytes in all.
             */
            size: number;
        };
        /** @description `POST /v1/certificates`. */
        UploadCertificate: {
            /** @description The chain in PEM, the host's own certificate first. */
            chain: string;
            /** @description The private key in PEM, not encrypted. Never shown again. */
            key: string;
        };
        /** @description A line of what was used. */
        UsageLine: {
            /** @description What it cost, exact. */
            amount: string;
            /** @description The app; absent for what belongs to the environment as a whole. */
            app?: string | null;
            /** @description Name of the environment; its identity if it is gone. */
            environment: string;
            /** @description Its identity. */
            environment_id: string;
            /**
             * Format: int32
             * @description The version of the prices.
             */
            price_version: number;
            /** @description The process; absent for what belongs to the app as a whole. */
            process?: string | null;
            /** @description Name of the project; its identity if it is gone. */
            project: string;
            /** @description Its identity. */
            project_id: string;
            /** @description What was used. */
            sku: string;
            /** @description How much, in raw units, as text: it may be more than a number of JSON holds. */
            units: string;
        };
        /** @description What an outside system is told of an hour of an account: what was used and was not told before. */
        UsageRecord: {
            /** @description Name of the account. */
            account: string;
            /** @description Its identity. */
            account_id: string;
            /** @description The sum of the lines, exact. */
            amount: string;
            /** @description Three capital letters (ISO 4217). */
            currency: string;
            /** @description When the hour begins. */
            hour: string;
            /** @description Identity. */
            id: string;
            /** @description `usage`. */
            kind: string;
            /** @description By app, process, kind of use and version of the prices. */
            lines: components["schemas"]["UsageLine"][];
            /**
             * Format: int32
             * @description 1 for the first record of the hour; what became known later follows in further ones.
             */
            part: number;
        };
        /** @description `POST /v1/password-resets/use`. */
        UseReset: {
            /** @description 12 characters at least. */
            password: string;
            /** @description From the link. */
            secret: string;
        };
        /** @description A variable. The value of a secret is never given out. */
        Variable: {
            /** @description Whether builds see it. */
            build: boolean;
            /** @description Whether the running release has it like this; `false` after `--no-deploy`. */
            live: boolean;
            /** @description Name. */
            name: string;
            /** @description Whether it is a secret. */
            secret: boolean;
            /** @description When it was set. */
            updated: string;
            /** @description Value; absent for secrets. */
            value?: string | null;
        };
        /** @description A variable that differs. */
        VariableDifference: {
            /** @description `added`, `removed` or `changed`. */
            change: string;
            /** @description Its name; with `APP: ` before it where it stands in `weir.toml`. */
            name: string;
            /** @description Whether it is a secret. */
            secret: boolean;
        };
        /** @description A volume. */
        Volume: {
            /** @description The app that has it. */
            app: string;
            /**
             * Format: int64
             * @description Bytes on disk.
             */
            bytes: number;
            /** @description `bytes` and `files` were counted then. */
            counted: string;
            /**
             * Format: int64
             * @description Everything but folders.
             */
            files: number;
            /**
             * @description As paths of the API name it: the name in `weir.toml`, with the app and a point before it where
             *     several apps have one of that name.
             */
            name: string;
            /** @description Where it is in an instance; empty if no release that is kept has it. */
            path: string;
            /** @description `one` or `many`. */
            writers: string;
        };
        /** @description What is had somewhere. */
        WhereRights: {
            /** @description `see`, `deploy`, `set-caps` … */
            permissions: string[];
            /** @description A role, or `read token`, `deploy token`, `admin token`. */
            role: string;
            /** @description `weir`, `account:NAME`, `PROJECT` or `PROJECT/ENVIRONMENT`; it holds for all that is in it. */
            scope: string;
        };
        /** @description Who asks. */
        WhoAmI: {
            /** @description `token`, `service-account` or `person`. */
            kind?: string;
            /** @description The only project that it may touch. */
            project?: string | null;
            /** @description What is had, and where. */
            rights?: components["schemas"]["WhereRights"][];
            /** @description `read`, `deploy` or `admin`; of a person the highest role. */
            scope: string;
            /** @description Name of the token or service account, or mail address of the person. */
            token: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    read_metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Samples in the text format of Prometheus, version 0.0.4 */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_accounts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_account: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateAccount"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_account: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_customer: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCustomer"];
            };
        };
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_billing: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetBilling"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_account_cap: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCap"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CapChange"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_deposit: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateDeposit"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_promise: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreatePromise"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_stop_order: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetStopOrder"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Account"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_transfers: {
        parameters: {
            query?: {
                /** @description 1 to 500; 50 if absent */
                limit?: number;
            };
            header?: never;
            path: {
                /** @description Name of the account */
                account: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Transfer"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_audit: {
        parameters: {
            query?: {
                /** @description Only entries before this sequence */
                before?: number;
                /** @description 1 to 500; 100 if absent */
                limit?: number;
                /** @description A duration back from now (90s, 15m, 1h, 2d) or an RFC 3339 instant */
                since?: string;
                /** @description Likewise */
                until?: string;
                /** @description Part of a name, or an identity */
                who?: string;
                /** @description Part of METHOD /path */
                operation?: string;
                /** @description weir, account:NAME, PROJECT or PROJECT/ENVIRONMENT */
                scope?: string;
                /** @description Part of any text */
                text?: string;
                /** @description `csv` or `jsonl`: all that match, also by `Accept` */
                format?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Entries */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditEntry"][];
                    "text/csv": string;
                    "application/x-ndjson": string;
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_billing: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Billing"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_outside: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetOutside"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OutsideSystem"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unset_outside: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_records: {
        parameters: {
            query?: {
                /** @description Only those that are pending, unconfirmed, confirmed or failed */
                state?: string;
                /** @description 1 to 500; 50 if absent */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BillingRecord"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_record: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Identity */
                record: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BillingRecord"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    retry_record: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                record: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Retried"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    retry_failed: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Retried"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_topups: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetTopups"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TopupsSecret"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_topup: {
        parameters: {
            query?: never;
            header: {
                /** @description t=SECONDS,v1=HEX: HMAC-SHA256 over SECONDS.BODY */
                "Weir-Signature": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Topup"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Topup"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unset_topups: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_caps: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CapStanding"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_authority: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CertificateAuthority"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_authority: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCertificateAuthority"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CertificateAuthority"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unset_authority: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_dns: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCertificateDns"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CertificateAuthority"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unset_dns: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_certificates: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Certificate"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    upload_certificate: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UploadCertificate"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Certificate"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_certificate: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                certificate: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_contacts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Contact"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_contact: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateContact"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Contact"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_contact: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity of the contact */
                contact: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    test_contact: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity of the contact */
                contact: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notice"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_cost: {
        parameters: {
            query?: {
                /** @description From then on, in whole hours: a duration back from now (24h, 7d), a date (its beginning in the time zone of the report) or an RFC 3339 instant; absent: since the period of the cap began */
                since?: string;
                /** @description Until then; absent: until now */
                until?: string;
                /** @description environment, app, process, sku, sku-of-process, or line (everything, and the default) */
                by?: string;
                /** @description hour, day or month; absent: time is not divided */
                per?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CostReport"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    watch_changes: {
        parameters: {
            query?: {
                /** @description Only changes behind this sequence; absent: from now on, or of all times in a list */
                after?: number;
                /** @description Of a list: only changes before this sequence */
                before?: number;
                /** @description Of a list: 1 to 500; 100 if absent */
                limit?: number;
                /** @description Only of the project of this name */
                project?: string;
                /** @description Only of environments of this name */
                environment?: string;
                /** @description Only kinds that begin like this: `deployment.` */
                kind?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events `change`, or a list */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["Change"];
                    "application/json": components["schemas"]["Change"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_help: {
        parameters: {
            query?: {
                /** @description open, answered or closed */
                state?: string;
                /** @description Only older than this one */
                before?: string;
                /** @description 1 to 500; 100 if absent */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpRequest"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_help: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateHelp"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpRequest"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_help_context: {
        parameters: {
            query: {
                /** @description An environment: shop/production */
                scope: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpContext"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_help: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Identity */
                request: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpRequest"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    update_help: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                request: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UpdateHelp"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpRequest"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    answer_help: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                request: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateHelpMessage"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpRequest"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_invitations: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invitation"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_invitation: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateInvitation"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invitation"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    accept_invitation: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AcceptInvitation"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    look_at_invitation: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["InvitationSecret"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InvitationOffer"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_invitation: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                invitation: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_invoice_settings: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InvoiceSettings"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_invoice_settings: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["InvoiceSettings"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InvoiceSettings"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_invoices: {
        parameters: {
            query?: {
                /** @description Name of the account; `default` if absent */
                account?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invoice"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_invoice: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateInvoice"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invoice"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_invoice: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Identity or number */
                invoice: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invoice"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    discard_invoice: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                invoice: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    credit_invoice: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or number */
                invoice: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreditInvoice"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invoice"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    finalize_invoice: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                invoice: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Invoice"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_invoice_html: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Identity or number */
                invoice: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": string;
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_invoice_pdf: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Identity or number */
                invoice: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/pdf": number[];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    audit_ledger: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Audit"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    read_journal: {
        parameters: {
            query?: {
                /** @description The first entry; 1 if absent */
                from?: number;
                /** @description 1 to 1000; 1000 if absent */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JournalEntry"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    watch_live: {
        parameters: {
            query: {
                /** @description 1 to 8 topics, each as `topic=…` */
                topic: string[];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events `state`, `refused`, `tick`, `end` */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": components["schemas"]["LiveState"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    update_me: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UpdateMe"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    change_password: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangePassword"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasswordChanged"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_sessions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignedIn"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    revoke_sessions: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    revoke_session: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity of the session */
                session: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    confirm_totp: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactor"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecoveryCodes"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_totp: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TotpSecret"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_totp: {
        parameters: {
            query?: never;
            header: {
                /** @description The password, in UTF-8, percent-encoded */
                "X-Weir-Password": string;
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_notices: {
        parameters: {
            query?: {
                /** @description 1 to 500; 50 if absent */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notice"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_overview: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Overview"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    use_password_reset: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UseReset"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_people: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Person"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_person: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or mail address */
                person: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    update_person: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or mail address */
                person: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UpdatePerson"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Person"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_grants: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or mail address */
                person: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetGrants"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Person"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_password_reset: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or mail address */
                person: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ResetLink"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_sessions_of: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Identity or mail address */
                person: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignedIn"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    revoke_sessions_of: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or mail address */
                person: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    revoke_session_of: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or mail address */
                person: string;
                /** @description Identity of the session */
                session: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_second_factor: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity or mail address */
                person: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_prices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PriceBook"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    publish_prices: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PublishPrices"];
            };
        };
        responses: {
            /** @description Only told what would change */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PriceChange"];
                };
            };
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PriceChange"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_prices: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Its number */
                version: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PriceBook"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_projects: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Project"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_project: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateProject"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Project"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_project: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Project"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    destroy_project: {
        parameters: {
            query?: {
                /** @description Name of the project; a person in a browser has to write it */
                confirm?: string;
            };
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_cap: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CapStanding"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_project_cap: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCap"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CapChange"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_project_cost: {
        parameters: {
            query?: {
                /** @description Only this environment */
                environment?: string;
                /** @description From then on, in whole hours: a duration back from now (24h, 7d), a date (its beginning in the time zone of the report) or an RFC 3339 instant; absent: since the period of the cap began */
                since?: string;
                /** @description Until then; absent: until now */
                until?: string;
                /** @description environment, app, process, sku, sku-of-process, or line (everything, and the default) */
                by?: string;
                /** @description hour, day or month; absent: time is not divided */
                per?: string;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CostReport"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_environments: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Environment"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_environment: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateEnvironment"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Environment"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_environment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EnvironmentStatus"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    destroy_environment: {
        parameters: {
            query?: {
                /** @description PROJECT/ENVIRONMENT; a person in a browser has to write it */
                confirm?: string;
            };
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    update_environment: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UpdateEnvironment"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Environment"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_access_log: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessLog"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_access_log: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetAccessLog"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessLog"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_shipping: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetAccessLogShipping"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MadeSecret"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unset_shipping: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccessLog"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_access: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetAccess"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Protection"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    remove_access: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Protection"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_cache: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CacheStatus"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    purge_cache: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PurgeCache"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CachePurged"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_canary: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CanaryStatus"];
                };
            };
            /** @description No canary runs */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_canary: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCanary"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CanaryStatus"];
                };
            };
            /** @description No canary runs */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    abort_canary: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It gets no more requests, and ends */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description No canary runs */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    promote_canary: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description No canary runs */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_environment_cap: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetCap"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CapChange"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unset_environment_cap: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CapChange"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_deployments: {
        parameters: {
            query?: {
                /** @description 1 to 500; 50 if absent */
                limit?: number;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Deployment"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_deployment: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateDeployment"];
            };
        };
        responses: {
            /** @description Nothing was to do */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_domains: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Domain"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    put_domains: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PutDomains"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DomainsPut"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    add_domain: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AddDomain"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Domain"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_domain: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The host name */
                host: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Domain"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    remove_domain: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The host name */
                host: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    retry_domain: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The host name */
                host: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Domain"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    exec_command: {
        parameters: {
            query: {
                /** @description Command line for /bin/sh -c */
                command: string;
                /** @description The app; absent: the main app */
                app?: string;
                /** @description The process; absent: web */
                process?: string;
                /** @description The instance; absent: the first that is ready */
                instance?: string;
                /** @description Whether there is a terminal */
                terminal?: boolean;
                /** @description Its width */
                columns?: number;
                /** @description Its height */
                rows?: number;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A WebSocket with frames as in SessionMessage */
            101: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_guard: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Guard"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    reset_guard: {
        parameters: {
            query?: {
                /** @description The app; absent: the only one, or the main app */
                app?: string;
            };
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Guard"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    update_guard: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UpdateGuard"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Guard"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    read_logs: {
        parameters: {
            query?: {
                /** @description Only of this app */
                app?: string;
                /** @description Only of this process */
                process?: string;
                /** @description Only of this instance */
                instance?: string;
                /** @description Only of `stdout`, `stderr` or `weir` */
                stream?: string;
                /** @description A duration back from now (90s, 15m, 1h, 2d) or an RFC 3339 instant */
                since?: string;
                /** @description Likewise; only before it */
                until?: string;
                /** @description The newest before the line of this identity */
                before?: string;
                /** @description The oldest behind the line of this identity */
                after?: string;
                /** @description The line of this identity, and half of each before and behind it */
                around?: string;
                /** @description Only lines that contain this text */
                grep?: string;
                /** @description 1 to 10000; 500 if absent */
                limit?: number;
                /** @description Of builds instead of instances */
                build?: boolean;
                /** @description Of the access log instead of what instances wrote; each line is JSON */
                access?: boolean;
                /** @description Answer with server-sent events */
                follow?: boolean;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Lines as a list, or as server-sent events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LogLine"][];
                    "text/event-stream": string;
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    download_logs: {
        parameters: {
            query?: {
                /** @description Only of this app */
                app?: string;
                /** @description Only of this process */
                process?: string;
                /** @description Only of this instance */
                instance?: string;
                /** @description Only of `stdout`, `stderr` or `weir` */
                stream?: string;
                /** @description A duration back from now (90s, 15m, 1h, 2d) or an RFC 3339 instant */
                since?: string;
                /** @description Likewise; only before it */
                until?: string;
                /** @description Only before the line of this identity */
                before?: string;
                /** @description Only behind the line of this identity */
                after?: string;
                /** @description Only lines that contain this text */
                grep?: string;
                /** @description 1 to 1000000; 1000000 if absent */
                limit?: number;
                /** @description Of builds instead of instances */
                build?: boolean;
                /** @description Of the access log instead of what instances wrote; each line is JSON */
                access?: boolean;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A line each: instant, app.process, instance, stream, text */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_loss: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Loss"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_maintenance: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetMaintenance"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Protection"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unset_maintenance: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Protection"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_metrics: {
        parameters: {
            query?: {
                /** @description Names, separated by commas: requests, errors, latency_p50, latency_p95, latency_p99, cpu, memory, instances, egress, cost; absent: all that may be seen */
                series?: string;
                /** @description A duration back from now (15m, 1h, 30d) or an RFC 3339 instant; absent: an hour back */
                from?: string;
                /** @description The same; absent: now */
                until?: string;
                /** @description Seconds of a step, rounded up to 10, 30, 60, 300, 900, 1800, 3600, 7200, 21600 or 86400, and to what is kept for so long; absent: the least that gives 400 points at most */
                step_s?: number;
                /** @description process: one series for each */
                by?: string;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Metrics"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    pause_environment: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is paused already */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    promote_environment: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Promote"];
            };
        };
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_live_proposal: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Proposal"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_protection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Protection"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_releases: {
        parameters: {
            query?: {
                /** @description 1 to 500; 50 if absent */
                limit?: number;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Release"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_difference: {
        parameters: {
            query?: {
                /** @description Compare with this release; absent: with the one that serves */
                to?: number;
            };
            header?: never;
            path: {
                /** @description Number of the release that would be live */
                number: number;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReleaseDifference"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resume_environment: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is not paused */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    run_command: {
        parameters: {
            query: {
                /** @description Command line for /bin/sh -c */
                command: string;
                /** @description The app; absent: the main app */
                app?: string;
                /** @description Whether there is a terminal */
                terminal?: boolean;
                /** @description Its width */
                columns?: number;
                /** @description Its height */
                rows?: number;
            };
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A WebSocket with frames as in SessionMessage */
            101: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_scale: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SetScale"];
            };
        };
        responses: {
            /** @description Nothing was to do */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    upload_source: {
        parameters: {
            query?: {
                /** @description One line on what it is */
                message?: string;
                /** @description The part of the visitors that gets it first, like 5%; absent: all */
                canary?: string;
                /** @description Requests with this header get it whatever the part is, like X-Canary: yes */
                canary_header?: string;
            };
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        /** @description A tar archive, plain or gzip, or a zip, of 2 GiB at most */
        requestBody: {
            content: {
                "application/x-tar": number[];
            };
        };
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_upload: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateUpload"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_upload: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_upload: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    append_upload: {
        parameters: {
            query?: never;
            header: {
                /** @description Bytes before this part; if there are not as many, 409 `upload-offset` says in the same header how many there are */
                "Upload-Offset": number;
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        /** @description 16 MiB at most */
        requestBody: {
            content: {
                "application/octet-stream": number[];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deploy_upload: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DeployUpload"];
            };
        };
        responses: {
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_proposal: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Proposal"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_variables: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Variable"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    update_variables: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["UpdateVariables"];
            };
        };
        responses: {
            /** @description Kept, or nothing was to do */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_volumes: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Volume"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    archive_files: {
        parameters: {
            query?: {
                /** @description The folder; the root if absent */
                path?: string;
                /** @description `tar`, `tar.gz` or `zip`; `tar` if absent */
                format?: string;
            };
            header?: never;
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": number[];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    read_file: {
        parameters: {
            query: {
                /** @description The file */
                path: string;
            };
            header?: never;
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": number[];
                };
            };
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": number[];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    write_file: {
        parameters: {
            query: {
                /** @description The file */
                path: string;
            };
            header?: {
                /** @description Only if the file still has this ETag */
                "If-Match"?: string | null;
                /** @description `*`: only if there is none */
                "If-None-Match"?: string | null;
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        /** @description 4 MiB at most */
        requestBody: {
            content: {
                "application/octet-stream": number[];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FileEntry"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_files: {
        parameters: {
            query?: {
                /** @description The folder; the root if absent */
                path?: string;
                /** @description Only what comes after this name */
                after?: string;
                /** @description 1 to 1000; 1000 if absent */
                limit?: number;
            };
            header?: never;
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Folder"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_files: {
        parameters: {
            query: {
                /** @description What */
                path: string;
                /** @description Its name once more, without its folder */
                confirm: string;
            };
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_folder: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateFolder"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FileEntry"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    move_file: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MoveFile"];
            };
        };
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_file_upload: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The volume */
                volume: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateFileUpload"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_file_upload: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The volume */
                volume: string;
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_file_upload: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The volume */
                volume: string;
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    append_file_upload: {
        parameters: {
            query?: never;
            header: {
                /** @description Bytes before this part; if there are not as many, 409 `upload-offset` says in the same header how many there are */
                "Upload-Offset": number;
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description The volume */
                volume: string;
                /** @description The upload */
                upload: string;
                /** @description Name of the project */
                project: string;
                /** @description Name of the environment */
                environment: string;
            };
            cookie?: never;
        };
        /** @description 16 MiB at most */
        requestBody: {
            content: {
                "application/octet-stream": number[];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Upload"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_roles: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RoleTable"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_service_accounts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServiceAccount"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_service_account: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateServiceAccount"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServiceAccount"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_service_account: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                account: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_service_token: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity */
                account: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateServiceToken"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Token"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_session: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateSession"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    end_session: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    confirm_session: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SecondFactor"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_up: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Setup"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionState"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_tasks: {
        parameters: {
            query?: {
                /** @description 1 to 500; 50 if absent */
                limit?: number;
                /** @description Only tasks that are older than this one */
                before?: string;
                /** @description Only of the project of this name */
                project?: string;
                /** @description Only of this environment of the project */
                environment?: string;
                /** @description Only in this state */
                state?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_task: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Identity of the task */
                task: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Task"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_task_log: {
        parameters: {
            query?: {
                /** @description Only lines behind this sequence */
                after?: number;
                /** @description 1 to 20000; 1000 if absent */
                limit?: number;
                /** @description Answer with server-sent events */
                follow?: boolean;
            };
            header?: never;
            path: {
                /** @description Identity of the task */
                task: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Lines as a list, or as server-sent events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TaskLine"][];
                    "text/event-stream": string;
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_time_zone: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TimeZone"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set_time_zone: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TimeZone"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TimeZone"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    list_tokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Token"][];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_token: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateToken"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Token"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    delete_token: {
        parameters: {
            query?: never;
            header?: {
                /** @description 1 to 200 characters; the same request under the same key is done once */
                "Idempotency-Key"?: string;
            };
            path: {
                /** @description Identity of the token */
                token: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_whoami: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WhoAmI"];
                };
            };
            /** @description What went wrong, and what to do next */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
