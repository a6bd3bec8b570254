// Generated from transport/rest/openapi.yaml by make client. Do not edit.
export interface paths {
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Says that the process runs. */
        get: operations["getHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Says whether the node serves: all shards have an owner, its own are loaded, and it reaches the journal. Otherwise 503. */
        get: operations["getReadiness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Prometheus metrics. */
        get: operations["getMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.yaml": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document. */
        get: operations["getDescription"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/api_auth": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Answers an API key with a token, in `auth_token`. The token is good for an hour. */
        put: operations["logInWithApiKey"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/user_auth": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Answers the credentials of a user with a token, in `auth_token`. The token is good for an hour. */
        put: operations["logInUser"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/about": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Says which release the node is. */
        get: operations["getAbout"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/switches": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends the calls of a switch that were last heard of before a moment, in all accounts. Needs a token of the master account. */
        post: operations["endSwitch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/cluster": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The nodes, their shards and the sources of calls. Needs a token of the master account. */
        get: operations["showCluster"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the account of the token and the accounts below it. */
        get: operations["listAccounts"];
        /** Creates an account below the account of the token. */
        put: operations["createAccount"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Reads the account. */
        get: operations["getAccount"];
        /** Creates an account below this one. */
        put: operations["createAccountBelow"];
        /** Replaces the account. */
        post: operations["replaceAccount"];
        /** Removes the account with its users and devices. Its subscriptions end. Accounts below it must be removed first. */
        delete: operations["removeAccount"];
        options?: never;
        head?: never;
        /** Changes the fields of the account that the body names; null removes a field. */
        patch: operations["changeAccount"];
        trace?: never;
    };
    "/v2/accounts/{account_id}/api_key": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Says whether the token's own account has an API key. The key itself is shown once, when it is made. */
        get: operations["getApiKey"];
        /** Gives the account another API key: the one in the body, or else a new one. The one before is no good any more. */
        put: operations["makeApiKey"];
        post?: never;
        /** Revokes the API key of the account. */
        delete: operations["revokeApiKey"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/children": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists the accounts directly below this one. */
        get: operations["listChildren"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/descendants": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists all accounts below this one. */
        get: operations["listDescendants"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/parents": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists the accounts above this one, from the token's account down. */
        get: operations["listParents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/tree": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists the accounts above this one, from the token's account down. */
        get: operations["getTree"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/devices": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists the devices. */
        get: operations["listDevices"];
        /** Creates a device. */
        put: operations["createDevice"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/devices/status": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists the devices that are known to be registered. */
        get: operations["listDeviceStates"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/devices/{device_id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        /** Reads the device. */
        get: operations["getDevice"];
        put?: never;
        /** Replaces the device. */
        post: operations["replaceDevice"];
        /** Removes the device. */
        delete: operations["removeDevice"];
        options?: never;
        head?: never;
        /** Changes the fields of the device that the body names; null removes a field. */
        patch: operations["changeDevice"];
        trace?: never;
    };
    "/v2/accounts/{account_id}/users": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists the users. */
        get: operations["listUsers"];
        /** Creates a user. */
        put: operations["createUser"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/users/{user_id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        /** Reads the user. */
        get: operations["getUser"];
        put?: never;
        /** Replaces the user. */
        post: operations["replaceUser"];
        /** Removes the user. */
        delete: operations["removeUser"];
        options?: never;
        head?: never;
        /** Changes the fields of the user that the body names; null removes a field. */
        patch: operations["changeUser"];
        trace?: never;
    };
    "/v2/accounts/{account_id}/users/{user_id}/devices": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        /** Lists the devices of the user, and those at which the user is logged in. */
        get: operations["listUserDevices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/presence": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Lists the live subscriptions of the account's realm, over all nodes. data is {"subscriptions":{extension:{event package:{Call-ID:…}}}}. With lit=true it lists the lamps that are early or confirmed, watched or not: data is {"lamps":{extension:{…}}}. Over 1 MB the answer is streamed, without an ETag. */
        get: operations["listSubscriptions"];
        put?: never;
        /** Resets all extensions of the account's realm. The action must be reset. */
        post: operations["resetAccount"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/presence/events": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        /** Gives the lamps of the account's realm and each of their changes as server-sent events, without end: reload, lamps, whole, change, alive and end. */
        get: operations["watchLamps"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/presence/report-{report_id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
                /**
                 * @description The report_id of the answer to a reset.
                 * @example 00000000000000035d0f3c7a9b1e4f68
                 */
                report_id: components["schemas"]["Id"];
            };
            cookie?: never;
        };
        /** Gives what was there before a reset, and who asked for it, as a file. */
        get: operations["getReport"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/presence/{extension}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
                /** @description A user of the account's realm, or user@realm with a realm that the token's account may act on. */
                extension: components["parameters"]["extension"];
            };
            cookie?: never;
        };
        /** Shows the lamp of one extension, its dialogs and its subscriptions. */
        get: operations["getExtension"];
        put?: never;
        /** Resets an extension or sets its manual state. Without an action it resets. */
        post: operations["commandExtension"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/devices/{device_id}/presence": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        /** Shows the extensions that the device acts on, with their lamps. */
        get: operations["getDevicePresence"];
        put?: never;
        /** Resets the extensions, sets their manual state, or resets them and sets a state at once. */
        post: operations["commandDevice"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v2/accounts/{account_id}/users/{user_id}/presence": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        /** Shows the extensions that the user acts on, with their lamps. */
        get: operations["getUserPresence"];
        put?: never;
        /** Resets the extensions, sets their manual state, or resets them and sets a state at once. */
        post: operations["commandUser"];
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
        /** @description An id of 32 hexadecimal digits in lower case. */
        Id: string;
        /**
         * @description The state of a lamp: early rings, confirmed is busy, terminated is dark.
         * @enum {string}
         */
        State: "early" | "confirmed" | "terminated";
        ApiKey: {
            api_key: string;
        };
        NewKey: {
            api_key?: string;
            /** @description For how many seconds the key before stays good. */
            grace_s?: number;
        };
        UserCredentials: {
            /** @description The digest of user:password, in hexadecimal. */
            credentials: string;
            /**
             * @description The digest: MD5 or SHA-1.
             * @default md5
             * @enum {string}
             */
            method: "md5" | "sha";
            /** @description The realm of the account. phone_number, realm or account_name is required; of several the first of these counts. */
            realm?: string;
            /** @description The same as realm. */
            account_realm?: string;
            /** @description The name of the account; only letters and digits count. */
            account_name?: string;
            /** @description A number of the account. */
            phone_number?: string;
        };
        Login: {
            account_id: components["schemas"]["Id"];
            /** @description The name of the account. */
            account_name: string;
            /** @description Always false. */
            is_reseller: boolean;
        };
        UserLogin: {
            account_id: components["schemas"]["Id"];
            owner_id: components["schemas"]["Id"];
            /** @description The name of the account. */
            account_name: string;
            /** @description Always false. */
            is_reseller: boolean;
            reseller_id: components["schemas"]["Id"];
            /** @description That of the user, else that of the account, else en-us. */
            language: string;
            /** @description Always empty. */
            apps: Record<string, never>[];
        };
        About: {
            /** @description Always lamplight. */
            product: string;
            /** @description The release of the node. */
            version: string;
        };
        SwitchCommand: {
            /**
             * @description The switch has crashed or was started again.
             * @enum {string}
             */
            action: "gone";
            /** @description The switch, as its calls have it, letter by letter. */
            switch_uri: string;
            /**
             * Format: date-time
             * @description Only calls that were last heard of before this time. Absent: before now.
             */
            before?: string;
        };
        SwitchEnd: {
            /** @description The number of calls that went out. */
            ended: number;
        };
        Account: {
            presence?: components["schemas"]["AccountPresence"];
            readonly id?: string;
            name?: string;
            realm: string;
            parent_id?: components["schemas"]["Id"];
            api_key?: string;
        } & {
            [key: string]: unknown;
        };
        AccountChange: {
            presence?: components["schemas"]["AccountPresence"];
            name?: string;
            realm?: string;
            parent_id?: components["schemas"]["Id"];
            api_key?: string;
        } & {
            [key: string]: unknown;
        };
        AccountRow: {
            id: components["schemas"]["Id"];
            name?: string;
            realm: string;
        } & {
            [key: string]: unknown;
        };
        Relative: {
            id: components["schemas"]["Id"];
            /** @description The name of the account. */
            name: string;
        };
        ApiKeyState: {
            api_key_set: boolean;
            /**
             * Format: date-time
             * @description Until when the key before is good.
             */
            old_key_until?: string;
        };
        NewApiKey: {
            api_key: string;
            api_key_set: boolean;
            /**
             * Format: date-time
             * @description Until when the key before is good.
             */
            old_key_until?: string;
        };
        AccountPresence: {
            /** @description Phones are not shown who the other party of a call is. */
            hide_parties?: boolean;
            limits?: components["schemas"]["Limits"];
        } & {
            [key: string]: unknown;
        };
        /** @description Budgets that the account has of its own at each node. Accounts above it set them. 0 is no bound. */
        Limits: {
            /** @description HTTP requests a second. */
            requests?: number;
            /** @description Events a second. */
            events?: number;
            /** @description NOTIFYs of changes a second. */
            notifies?: number;
            subscriptions?: number;
        } & {
            [key: string]: unknown;
        };
        Privacy: {
            /** @description Phones are not shown who the other party of a call is. */
            hide_parties?: boolean;
        } & {
            [key: string]: unknown;
        };
        Sip: {
            /** @description The name with which the phone logs in at the SIP edge. */
            username?: string;
            /** @description Its password. It is never shown. */
            password?: string;
            /** @description The realm, where it is not that of the account. */
            realm?: string;
        } & {
            [key: string]: unknown;
        };
        HotDesk: {
            /** @description The ids of the users who are logged in at the device. */
            users?: {
                [key: string]: unknown;
            };
        } & {
            [key: string]: unknown;
        };
        Device: {
            presence?: components["schemas"]["Privacy"];
            /** @description Its id, which the node makes. */
            readonly id?: string;
            /** @description What people call it. */
            name?: string;
            /** @description The user whose device it is. */
            owner_id?: string;
            /** @description The extension that its lamp belongs to: a user of the realm, or user@realm. Absent: sip.username. */
            presence_id?: string;
            /** @description false: it can not log in. */
            enabled?: boolean;
            /** @description Kept, without meaning for Lamplight. */
            mac_address?: string;
            /** @description Kept, without meaning for Lamplight. */
            device_type?: string;
            sip?: components["schemas"]["Sip"];
            hotdesk?: components["schemas"]["HotDesk"];
        } & {
            [key: string]: unknown;
        };
        DeviceRow: {
            id: components["schemas"]["Id"];
            /** @description What people call it. */
            name?: string;
            /** @description The user whose device it is. */
            owner_id?: string;
            /** @description Its sip.username. */
            username?: string;
            /** @description As it was given. */
            mac_address?: string;
            /** @description As it was given. */
            device_type?: string;
            /** @description false: it can not log in. */
            enabled?: boolean;
            /** @description Its extension. */
            presence_id?: string;
        } & {
            [key: string]: unknown;
        };
        DeviceState: {
            device_id: components["schemas"]["Id"];
            /** @description true: a phone of the device is registered. */
            registered: boolean;
        };
        User: {
            presence?: components["schemas"]["Privacy"];
            /** @description The id, which the node makes. */
            readonly id?: string;
            /** @description The name that the page shows with the lamp. */
            first_name?: string;
            /** @description The same. */
            last_name?: string;
            /** @description The name with which the user logs in. */
            username?: string;
            /** @description The password with which the user logs in. It is never shown. */
            password?: string;
            /** @description Kept, without meaning for Lamplight. */
            email?: string;
            /** @description The extension of the user: a user of the realm, or user@realm. */
            presence_id?: string;
            /** @description false: the user can not log in. */
            enabled?: boolean;
        } & {
            [key: string]: unknown;
        };
        UserRow: {
            id: components["schemas"]["Id"];
            /** @description First and last name. */
            name?: string;
            /** @description The first name. */
            first_name?: string;
            /** @description The last name. */
            last_name?: string;
            /** @description The name with which the user logs in. */
            username?: string;
            /** @description As it was given. */
            email?: string;
            /** @description The extension of the user. */
            presence_id?: string;
        } & {
            [key: string]: unknown;
        };
        ResetAll: {
            /**
             * @description The only action on all of an account.
             * @enum {string}
             */
            action: "reset";
        };
        Command: {
            /**
             * @description reset forgets calls, registers and the manual state. set sets the manual state. Absent: reset, where the path names an extension.
             * @enum {string}
             */
            action?: "reset" | "set";
            state?: components["schemas"]["State"];
            /**
             * @deprecated
             * @description An older form of action reset.
             */
            reset?: boolean;
        };
        ReplyCounts: {
            /** @description Watchers that were sent a NOTIFY. */
            notified: number;
            /** @description Those that answered with success within the time. */
            acked: number;
            /** @description Those that answered with a failure. */
            failed: number;
        };
        Report: {
            account_id: components["schemas"]["Id"];
            /** @description The realm of the account. */
            realm: string;
            /**
             * @description What was asked for.
             * @enum {string}
             */
            action: "reset";
            /**
             * Format: date-time
             * @description When it was asked for.
             */
            at: string;
            /** @description The user, API key or account of the token; over NATS the App-Name. */
            by: string;
            /** @description From which address or node. */
            address: string;
            /** @description The X-Request-ID, or the Msg-ID. */
            request_id: string;
            /** @description By user@realm: the extension just before the reset. */
            extensions?: {
                [key: string]: Record<string, never>;
            };
            /** @description Of the whole account: its lit lamps just before. */
            lamps?: {
                [key: string]: Record<string, never>;
            };
            left_out?: number;
        };
        CommandResult: string | components["schemas"]["ReplyCounts"];
        LastNotify: {
            /** @description The document; "undefined" before the first. */
            body: string;
            /** @description The SIP status code of the phone; 0: none came. */
            reply: number;
            /**
             * Format: int64
             * @description The CSeq of the NOTIFY.
             */
            sequence: number;
        };
        Subscription: {
            /** @description The granted seconds and the grace of 20 s: 1820 for 1800. It is not the time that is left. */
            expires: number;
            /** @description The watcher. */
            from: string;
            notify: components["schemas"]["LastNotify"];
            /** @description The Subscription-ID, else the edge. */
            stalker: string;
            /**
             * Format: int64
             * @description The last SUBSCRIBE, in Gregorian seconds: Unix time + 62167219200.
             */
            timestamp: number;
            /** @description 2 with a Subscription-ID, else 1. */
            version: number;
            /** @description The phone's User-Agent. */
            user_agent?: string;
            /** @description The phone's Contact. */
            contact?: string;
            /** @description The Subscription-ID of the document. */
            subscription_id?: string;
            /** @description How the edge reaches the phone. */
            proxy_route?: string;
        };
        /** @description Subscriptions by their Call-ID. */
        ByCallId: {
            [key: string]: components["schemas"]["Subscription"];
        };
        /** @description By event package: subscriptions, or with `summary` how many there are. */
        ByPackage: {
            [key: string]: components["schemas"]["ByCallId"] | number;
        };
        /** @description By extension. */
        ByExtension: {
            [key: string]: components["schemas"]["ByPackage"];
        };
        /**
         * @description What lights a lamp.
         * @enum {string}
         */
        Source: "call" | "register" | "manual" | "mailbox";
        LitLamp: {
            state: components["schemas"]["State"];
            /**
             * Format: date-time
             * @description Since when the most important dialog has its state.
             */
            since: string;
            source: components["schemas"]["Source"];
            /** @description All that counts for the lamp, the most important first. */
            dialogs: components["schemas"]["Dialog"][];
        };
        /** @description It has subscriptions, or with lit=true lamps. */
        Listing: {
            subscriptions?: components["schemas"]["ByExtension"];
            /** @description By extension. */
            lamps?: {
                [key: string]: components["schemas"]["LitLamp"];
            };
            /** @description Shards did not answer. */
            timeout?: boolean;
            /** @description The shards that did not answer: their extensions are not listed. */
            missing_shards?: number[];
        };
        Dialog: {
            /** @description The Call-ID; of what is no call, the MD5 of the presence id. */
            call_id: string;
            /** @description early, confirmed, trying; trying leaves the lamp dark. */
            state: string;
            /**
             * @description initiator: the extension called.
             * @enum {string}
             */
            direction?: "initiator" | "recipient";
            source: components["schemas"]["Source"];
            /** @description The extension's side. */
            from?: string;
            /** @description The far end. */
            to?: string;
            /**
             * Format: date-time
             * @description The last change of its state.
             */
            since?: string;
            /**
             * Format: date-time
             * @description The end of its lease; absent: none.
             */
            expires?: string;
            /** @description It is on hold (RFC 4235 §4.1.6); absent: it is not. */
            held?: boolean;
        } & {
            [key: string]: unknown;
        };
        Transition: {
            /** @description The lamp after the change. */
            state: string;
            /** @description What changed it, such as dialog_update or set. */
            source: string;
            /**
             * Format: date-time
             * @description When.
             */
            at: string;
            /** @description The call that changed it. */
            call_id?: string;
            /** @description The Switch-URI of that call. */
            switch?: string;
            /** @description The user, API key or account of the token; over NATS the App-Name, which nobody has checked. */
            by?: string;
            /** @description From which address or node. */
            address?: string;
            /** @description The X-Request-ID, or the Msg-ID of a document. */
            request_id?: string;
        } & {
            [key: string]: unknown;
        };
        Finding: {
            /** @description A word for programs. Pass over kinds that you do not know. */
            kind: string;
            /** @description Whole sentences for people. */
            text: string;
        } & {
            [key: string]: unknown;
        };
        EndedWatcher: {
            /** @description The Call-ID of the subscription. */
            call_id: string;
            /** @description Its event package. */
            event: string;
            /** @description The watcher; "": it ended the subscription itself. */
            from?: string;
            /** @description The SIP code that ended it; 0: none did. */
            reply?: number;
            /**
             * Format: date-time
             * @description When it ended.
             */
            at?: string;
        } & {
            [key: string]: unknown;
        };
        WatcherState: {
            /** @description The Call-ID of the subscription. */
            call_id: string;
            /** @description Its event package. */
            event: string;
            /** @description The watcher. */
            from?: string;
            /** @description The edge that sends its NOTIFYs. */
            edge?: string;
            /**
             * Format: int64
             * @description The last Sequence that was sent.
             */
            sequence?: number;
            /**
             * Format: int64
             * @description The highest Sequence that the phone answered.
             */
            acked?: number;
            /** @description Milliseconds from the making of the last NOTIFY until the reply to it; absent: not known. */
            latency_ms?: number;
            /** @description The SIP code of that answer; 0: none came. */
            reply?: number;
            /** @description true: it should know something that it was not told or has not answered. */
            behind?: boolean;
        } & {
            [key: string]: unknown;
        };
        Explanation: {
            /** @description The owner of the extension. */
            node: string;
            /** @description 0 to 1023. */
            shard: number;
            /**
             * Format: int64
             * @description The number of the owner's claim.
             */
            generation: number;
            /** @description The dialog that decides the lamp; null: it is dark. */
            winner?: components["schemas"]["Dialog"] | null;
            /** @description The other dialogs. */
            losers: components["schemas"]["Dialog"][];
            /** @description What an operator should know. */
            findings: components["schemas"]["Finding"][];
            /** @description The subscriptions that ended in the last minutes. */
            ended: components["schemas"]["EndedWatcher"][];
            /** @description Up to 8 last changes, the oldest first. */
            transitions: components["schemas"]["Transition"][];
            /** @description What each watcher was told. */
            watchers: components["schemas"]["WatcherState"][];
        } & {
            [key: string]: unknown;
        };
        ShownExtension: {
            /** @description The user of the extension, or user@realm. */
            extension: string;
            state: components["schemas"]["State"];
            /** @description All that counts for the lamp, the most important first. */
            dialogs: components["schemas"]["Dialog"][];
            subscriptions: components["schemas"]["ByExtension"];
            explain?: components["schemas"]["Explanation"];
        };
        Lamp: {
            state: components["schemas"]["State"];
        };
        PresenceIds: {
            /** @description The lamp of each extension. */
            presence_ids: {
                [key: string]: components["schemas"]["Lamp"];
            };
        };
        Envelope: {
            /** @description The token of the request; after a login the new one. */
            auth_token: string;
            /** @description The node that answered. */
            node: string;
            /** @description The X-Request-ID of the request, else a new one. The log of the nodes has it. */
            request_id: string;
            /** @description Changes when data changes; it is the ETag. */
            revision: string;
            /**
             * @description What kind of answer it is.
             * @enum {string}
             */
            status: "success";
            /**
             * Format: date-time
             * @description When the node answered, in UTC.
             */
            timestamp: string;
            /** @description The release of the node. */
            version: string;
            /** @description The node has lost NATS and answered from memory. */
            stale?: boolean;
        };
        Error: {
            /** @description The token of the request. */
            auth_token: string;
            /** @description What was wrong: a message, or for a field that is not valid the name of the field with why. */
            data: {
                [key: string]: unknown;
            };
            /**
             * @description The HTTP status as a text.
             * @enum {string}
             */
            error: "400" | "401" | "403" | "404" | "405" | "409" | "413" | "429" | "503";
            /** @description The word of the error, for programs. */
            message: string;
            /** @description The node that answered. */
            node: string;
            /** @description The X-Request-ID of the request, else a new one. */
            request_id: string;
            /**
             * @description What kind of answer it is.
             * @enum {string}
             */
            status: "error";
            /**
             * Format: date-time
             * @description When the node answered, in UTC.
             */
            timestamp: string;
            /** @description The release of the node. */
            version: string;
        };
        TextAnswer: components["schemas"]["Envelope"] & {
            data: string;
        };
        LoginAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["Login"];
        };
        UserLoginAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["UserLogin"];
        };
        AboutAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["About"];
        };
        ClusterAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["Cluster"];
        };
        Cluster: {
            nodes: components["schemas"]["ClusterNode"][];
            /** @description The shards that no node holds. */
            unowned: number[];
            /** @description Shards that are being handed over. */
            moving: number;
            /** @description What does not fit together, in sentences. */
            disagreements: string[];
            sources: components["schemas"]["CallSource"][];
            /** @description Only with watchers=true. */
            watchers?: components["schemas"]["EdgeWatchers"][];
        };
        EdgeWatchers: {
            /** @description The edge; any: the watchers that name none. */
            edge: string;
            /**
             * @description Whether anybody listens for its NOTIFYs. listening: it says edge.up. down: it did, and is gone or silent. nobody: it never did, and NATS knew nobody to take the last message for it. never_up: it never did, and nothing else is known. Absent where nothing is known, and of other.
             * @enum {string}
             */
            listens?: "listening" | "down" | "nobody" | "never_up";
            /**
             * Format: date-time
             * @description listening: when it last said something. down: since when. nobody: when that message was sent.
             */
            listens_at?: string;
            /** @description The subscriptions behind the edge. */
            watchers: number;
            /** @description Those that were not told what their lamp is. */
            not_told: number;
            /** @description Those that have not answered their last NOTIFY. */
            not_answered: number;
            /**
             * Format: date-time
             * @description Since when the first of them is behind.
             */
            since?: string;
            /** @description The extensions with the most of them. */
            worst?: {
                /** @description user@realm */
                extension: string;
                /** @description As above. */
                not_told: number;
                /** @description As above. */
                not_answered: number;
                /**
                 * Format: date-time
                 * @description As above.
                 */
                since: string;
            }[];
        };
        ClusterNode: {
            node: string;
            /** @enum {string} */
            state: "joining" | "serving" | "draining" | "expelled" | "gone" | "silent";
            member: boolean;
            version?: string;
            shards: number;
            open: number;
            extensions?: number;
            subscriptions?: number;
            watchers_behind?: number;
            events?: number;
            events_per_second?: number;
            takeovers?: number;
            expulsions?: number;
            /** @description Of the disk of the embedded NATS server; absent without one. */
            disk_free_bytes?: number;
            disk_size_bytes?: number;
        };
        CallSource: {
            /** @description Empty: no source speaks for the switch. */
            source: string;
            switch_uri: string;
            incarnation?: string;
            silent?: boolean;
            expires_at?: string;
            node?: string;
            calls: number;
        };
        SwitchAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["SwitchEnd"];
        };
        AccountsAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["AccountRow"][];
            /** @description The number of rows in this answer. */
            page_size?: number;
            /** @description The id of the first row. */
            start_key?: string;
            /** @description The start_key of the next page; absent: this is the last one. */
            next_start_key?: string;
        };
        AccountAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["Account"];
        };
        RelativesAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["Relative"][];
        };
        ApiKeyStateAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["ApiKeyState"];
        };
        NewApiKeyAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["NewApiKey"];
        };
        DevicesAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["DeviceRow"][];
            /** @description The number of rows in this answer. */
            page_size?: number;
            /** @description The id of the first row. */
            start_key?: string;
            /** @description The start_key of the next page; absent: this is the last one. */
            next_start_key?: string;
        };
        DeviceAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["Device"];
        };
        DeviceStatesAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["DeviceState"][];
        };
        UsersAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["UserRow"][];
            /** @description The number of rows in this answer. */
            page_size?: number;
            /** @description The id of the first row. */
            start_key?: string;
            /** @description The start_key of the next page; absent: this is the last one. */
            next_start_key?: string;
        };
        UserAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["User"];
        };
        ListingAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["Listing"];
            /** @description The start_key of the next page; absent: this is the last one. */
            next_start_key?: string;
        };
        ExtensionAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["ShownExtension"];
        };
        CommandAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["CommandResult"];
            /** @description After a reset: the id of its report. */
            report_id?: string;
        };
        PresenceIdsAnswer: components["schemas"]["Envelope"] & {
            data: components["schemas"]["PresenceIds"];
        };
    };
    responses: {
        /** @description The body, a field, a query parameter or a name is not valid. data says what is wrong. */
        Invalid: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "action": {
                 *           "invalid": {
                 *             "message": "Field must be set to a valid action",
                 *             "target": "invalid"
                 *           }
                 *         }
                 *       },
                 *       "error": "400",
                 *       "message": "validation error",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description The token is missing, unknown, expired or changed, or its account is gone; or the API key or the credentials are wrong. */
        Unauthorised: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "message": "invalid credentials"
                 *       },
                 *       "error": "401",
                 *       "message": "invalid_credentials",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description The token's account may not act on the account or realm: it is neither the same nor below it. */
        Forbidden: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "message": "forbidden"
                 *       },
                 *       "error": "403",
                 *       "message": "forbidden",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description There is no such account, user or device. */
        Unknown: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "cause": "0123",
                 *         "message": "bad identifier"
                 *       },
                 *       "error": "404",
                 *       "message": "bad_identifier",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description The path does not have this verb. The header Allow names those that it has. */
        Method: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "message": "method not allowed"
                 *       },
                 *       "error": "405",
                 *       "message": "invalid_method",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description Another entry has the realm, the API key or the username, the account has others below it, or another request changed the entry at the same time. */
        Conflict: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "message": "conflict: another account has the realm acme.example.com"
                 *       },
                 *       "error": "409",
                 *       "message": "datastore_conflict",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description The body has more than 8 MB, or that of a login more than 16 KB. */
        TooLarge: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "message": "the body is too large",
                 *         "max_bytes": 8388608
                 *       },
                 *       "error": "413",
                 *       "message": "request_too_large",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description The rate limit or another bound is reached, or too many logins failed. Retry-After says after how many seconds to try again. */
        TooMany: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "message": "too many requests"
                 *       },
                 *       "error": "429",
                 *       "message": "too_many_requests",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description The owner or the journal is out of reach, or did not answer in time. A change may or may not have happened. Retry-After says after how many seconds to try again. */
        Unreachable: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "auth_token": "eyJhbGciOiJ…yisBA",
                 *       "data": {
                 *         "message": "the owner of the extension or the journal is out of reach"
                 *       },
                 *       "error": "503",
                 *       "message": "datastore_unreachable",
                 *       "node": "lamplight@a",
                 *       "request_id": "b06189df969eb16bed30dd873f13c068",
                 *       "status": "error",
                 *       "timestamp": "2026-11-28T04:01:32Z",
                 *       "version": "0.1.0"
                 *     }
                 */
                "application/json": components["schemas"]["Error"];
            };
        };
        /** @description If-None-Match has the present ETag. */
        Unchanged: {
            headers: {
                [name: string]: unknown;
            };
            content?: never;
        };
    };
    parameters: {
        account_id: components["schemas"]["Id"];
        device_id: components["schemas"]["Id"];
        user_id: components["schemas"]["Id"];
        /** @description A user of the account's realm, or user@realm with a realm that the token's account may act on. */
        extension: string;
        /** @description Only subscriptions to this event package. */
        event: "dialog" | "presence" | "message-summary";
        /** @description Show the number of subscriptions instead of the subscriptions. */
        summary: boolean;
        /** @description List the lamps that are early or confirmed instead of the subscriptions. Not with event or summary. */
        lit: boolean;
        /** @description With lit=true: only lamps that have been lit for longer, such as 4h or 30m. */
        older_than: string;
        /** @description With lit=true: only lamps in this state, early or confirmed. */
        lit_state: string;
        /** @description With lit=true: only lamps that are lit by this. */
        source: components["schemas"]["Source"];
        /** @description The most extensions in the answer. Its next_start_key is the start_key of the next page. */
        page_size: number;
        /** @description The extension at which the listing begins. */
        start_key: string;
        /** @description Also say why the lamp is as it is, and what each watcher was told. */
        explain: boolean;
        /** @description Wait for the replies of the watchers: true (5 s), or a duration such as 2s. The answer counts the replies. */
        wait: string;
        /** @description false: all rows, whatever page_size says. */
        paginate: boolean;
        /** @description The most rows in the answer; without it all. next_start_key is the start_key of the next page. */
        list_page_size: number;
        /** @description The id at which the page begins. */
        list_start_key: string;
        /** @description Rows are whole documents instead of summaries. */
        full_docs: boolean;
        /** @description Any number of filter_FIELD=VALUE and filter_not_FIELD=VALUE. Dots name fields of objects: filter_sip.username=1001. */
        filters: {
            [key: string]: string;
        };
        /** @description Only rows that have this field. */
        has_key: string;
        /** @description Only rows that do not have this field. */
        key_missing: string;
        /** @description Rows are sorted by id, the lowest first, with and without it. */
        ascending: true;
        /** @description Indent the answer. The header X-Pretty-Print does the same. */
        pretty_print: boolean;
        /** @description An ETag. While it still holds, the answer is 304 without a body. */
        if_none_match: string;
        /** @description An id for the request, which the answer repeats. */
        request_id: string;
    };
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    getHealth: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A word. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "undefined",
                     *       "data": "ok",
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["TextAnswer"];
                };
            };
            405: components["responses"]["Method"];
        };
    };
    getReadiness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A word. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "undefined",
                     *       "data": "ready",
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["TextAnswer"];
                };
            };
            405: components["responses"]["Method"];
            503: components["responses"]["Unreachable"];
        };
    };
    getMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Metrics. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /** @example lamplight_shards_open 1024 */
                    "text/plain": string;
                };
            };
            405: components["responses"]["Method"];
        };
    };
    getDescription: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description This document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /** @example openapi: 3.0.3 */
                    "application/yaml": string;
                };
            };
            405: components["responses"]["Method"];
        };
    };
    logInWithApiKey: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "api_key": "5d0f3c7a9b1e4f6882c4d6e8f0a1b3c5"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["ApiKey"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The token is in auth_token. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "account_id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *         "account_name": "Acme",
                     *         "is_reseller": false
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["LoginAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    logInUser: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "credentials": "5f4dcc3b5aa765d61d8327deb882cf99",
                 *         "realm": "acme.example.com",
                 *         "method": "md5"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["UserCredentials"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The token is in auth_token. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "account_id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *         "account_name": "Acme",
                     *         "apps": [],
                     *         "is_reseller": false,
                     *         "language": "en-us",
                     *         "owner_id": "a1000000000000000000000000001001",
                     *         "reseller_id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["UserLoginAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getAbout: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description About the node. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "product": "lamplight",
                     *         "version": "0.1.0"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["AboutAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    endSwitch: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "action": "gone",
                 *         "switch_uri": "sip:10.0.0.5:11000",
                 *         "before": "2026-11-28T10:00:00Z"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["SwitchCommand"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The number of calls that went out. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "ended": 118
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["SwitchAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    showCluster: {
        parameters: {
            query?: {
                /** @description Also say by edge how many watchers may show something else than they should. */
                watchers?: boolean;
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What the nodes say of themselves and of each other. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "nodes": [
                     *           {
                     *             "node": "a",
                     *             "state": "serving",
                     *             "member": true,
                     *             "version": "0.1.0",
                     *             "shards": 1024,
                     *             "open": 1024,
                     *             "extensions": 12,
                     *             "subscriptions": 40,
                     *             "watchers_behind": 0,
                     *             "events": 118,
                     *             "events_per_second": 2,
                     *             "takeovers": 0,
                     *             "expulsions": 0,
                     *             "disk_free_bytes": 53687091200,
                     *             "disk_size_bytes": 107374182400
                     *           }
                     *         ],
                     *         "unowned": [],
                     *         "moving": 0,
                     *         "disagreements": [],
                     *         "sources": [
                     *           {
                     *             "source": "bridge1",
                     *             "switch_uri": "sip:10.0.0.5:11000",
                     *             "incarnation": "1",
                     *             "silent": false,
                     *             "expires_at": "2026-11-28T04:02:20Z",
                     *             "node": "a",
                     *             "calls": 3
                     *           }
                     *         ]
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["ClusterAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listAccounts: {
        parameters: {
            query?: {
                /** @description false: all rows, whatever page_size says. */
                paginate?: components["parameters"]["paginate"];
                /** @description The most rows in the answer; without it all. next_start_key is the start_key of the next page. */
                page_size?: components["parameters"]["list_page_size"];
                /** @description The id at which the page begins. */
                start_key?: components["parameters"]["list_start_key"];
                /** @description Rows are whole documents instead of summaries. */
                full_docs?: components["parameters"]["full_docs"];
                /** @description Any number of filter_FIELD=VALUE and filter_not_FIELD=VALUE. Dots name fields of objects: filter_sip.username=1001. */
                filters?: components["parameters"]["filters"];
                /** @description Only rows that have this field. */
                has_key?: components["parameters"]["has_key"];
                /** @description Only rows that do not have this field. */
                key_missing?: components["parameters"]["key_missing"];
                /** @description Rows are sorted by id, the lowest first, with and without it. */
                ascending?: components["parameters"]["ascending"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accounts, sorted by id. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *           "name": "Acme",
                     *           "realm": "acme.example.com"
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0",
                     *       "page_size": 1,
                     *       "start_key": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountsAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    createAccount: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "name": "Acme West",
                 *         "realm": "west.acme.example.com"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Account"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The account. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "a1970f8ac271b4b131d2b35d1f70e692",
                     *         "name": "Acme West",
                     *         "realm": "west.acme.example.com"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getAccount: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *         "name": "Acme",
                     *         "realm": "acme.example.com"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    createAccountBelow: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "name": "Acme West",
                 *         "realm": "west.acme.example.com"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Account"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The account. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "a1970f8ac271b4b131d2b35d1f70e692",
                     *         "name": "Acme West",
                     *         "realm": "west.acme.example.com"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    replaceAccount: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "name": "Acme",
                 *         "realm": "acme.example.com"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Account"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The account. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *         "name": "Acme",
                     *         "realm": "acme.example.com"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    removeAccount: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The account. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *         "name": "Acme",
                     *         "realm": "acme.example.com"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    changeAccount: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "name": "Acme"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["AccountChange"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The account. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *         "name": "Acme",
                     *         "realm": "acme.example.com"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getApiKey: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Whether the account has an API key. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "api_key_set": true
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["ApiKeyStateAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    makeApiKey: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {}
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["NewKey"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The new API key, which is not shown again. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "api_key": "5d0f3c7a9b1e4f6882c4d6e8f0a1b3c5",
                     *         "api_key_set": true
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["NewApiKeyAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    revokeApiKey: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Whether the account has an API key. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "api_key_set": false
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["ApiKeyStateAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listChildren: {
        parameters: {
            query?: {
                /** @description false: all rows, whatever page_size says. */
                paginate?: components["parameters"]["paginate"];
                /** @description The most rows in the answer; without it all. next_start_key is the start_key of the next page. */
                page_size?: components["parameters"]["list_page_size"];
                /** @description The id at which the page begins. */
                start_key?: components["parameters"]["list_start_key"];
                /** @description Rows are whole documents instead of summaries. */
                full_docs?: components["parameters"]["full_docs"];
                /** @description Any number of filter_FIELD=VALUE and filter_not_FIELD=VALUE. Dots name fields of objects: filter_sip.username=1001. */
                filters?: components["parameters"]["filters"];
                /** @description Only rows that have this field. */
                has_key?: components["parameters"]["has_key"];
                /** @description Only rows that do not have this field. */
                key_missing?: components["parameters"]["key_missing"];
                /** @description Rows are sorted by id, the lowest first, with and without it. */
                ascending?: components["parameters"]["ascending"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accounts, sorted by id. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "a1970f8ac271b4b131d2b35d1f70e692",
                     *           "name": "Acme West",
                     *           "realm": "west.acme.example.com"
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0",
                     *       "page_size": 1,
                     *       "start_key": "a1970f8ac271b4b131d2b35d1f70e692"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountsAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listDescendants: {
        parameters: {
            query?: {
                /** @description false: all rows, whatever page_size says. */
                paginate?: components["parameters"]["paginate"];
                /** @description The most rows in the answer; without it all. next_start_key is the start_key of the next page. */
                page_size?: components["parameters"]["list_page_size"];
                /** @description The id at which the page begins. */
                start_key?: components["parameters"]["list_start_key"];
                /** @description Rows are whole documents instead of summaries. */
                full_docs?: components["parameters"]["full_docs"];
                /** @description Any number of filter_FIELD=VALUE and filter_not_FIELD=VALUE. Dots name fields of objects: filter_sip.username=1001. */
                filters?: components["parameters"]["filters"];
                /** @description Only rows that have this field. */
                has_key?: components["parameters"]["has_key"];
                /** @description Only rows that do not have this field. */
                key_missing?: components["parameters"]["key_missing"];
                /** @description Rows are sorted by id, the lowest first, with and without it. */
                ascending?: components["parameters"]["ascending"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Accounts, sorted by id. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "a1970f8ac271b4b131d2b35d1f70e692",
                     *           "name": "Acme West",
                     *           "realm": "west.acme.example.com"
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0",
                     *       "page_size": 1,
                     *       "start_key": "a1970f8ac271b4b131d2b35d1f70e692"
                     *     }
                     */
                    "application/json": components["schemas"]["AccountsAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listParents: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The accounts above, from the token's account down. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *           "name": "Acme"
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["RelativesAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getTree: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The accounts above, from the token's account down. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *           "name": "Acme"
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["RelativesAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listDevices: {
        parameters: {
            query?: {
                /** @description false: all rows, whatever page_size says. */
                paginate?: components["parameters"]["paginate"];
                /** @description The most rows in the answer; without it all. next_start_key is the start_key of the next page. */
                page_size?: components["parameters"]["list_page_size"];
                /** @description The id at which the page begins. */
                start_key?: components["parameters"]["list_start_key"];
                /** @description Rows are whole documents instead of summaries. */
                full_docs?: components["parameters"]["full_docs"];
                /** @description Any number of filter_FIELD=VALUE and filter_not_FIELD=VALUE. Dots name fields of objects: filter_sip.username=1001. */
                filters?: components["parameters"]["filters"];
                /** @description Only rows that have this field. */
                has_key?: components["parameters"]["has_key"];
                /** @description Only rows that do not have this field. */
                key_missing?: components["parameters"]["key_missing"];
                /** @description Rows are sorted by id, the lowest first, with and without it. */
                ascending?: components["parameters"]["ascending"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Devices, sorted by id. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "d1000000000000000000000000001001",
                     *           "name": "Ada's desk phone",
                     *           "owner_id": "a1000000000000000000000000001001",
                     *           "presence_id": "1001",
                     *           "username": "1001",
                     *           "enabled": true
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0",
                     *       "page_size": 1,
                     *       "start_key": "d1000000000000000000000000001001"
                     *     }
                     */
                    "application/json": components["schemas"]["DevicesAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    createDevice: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "name": "Front desk",
                 *         "presence_id": "1003",
                 *         "sip": {
                 *           "username": "1003",
                 *           "password": "change-me-1003"
                 *         }
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Device"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The device. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "d1000000000000000000000000001001",
                     *         "name": "Ada's desk phone",
                     *         "owner_id": "a1000000000000000000000000001001",
                     *         "presence_id": "1001",
                     *         "sip": {
                     *           "username": "1001"
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["DeviceAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listDeviceStates: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The devices that are known to be registered. Lamplight knows of no registrations yet. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["DeviceStatesAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getDevice: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The device. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "d1000000000000000000000000001001",
                     *         "name": "Ada's desk phone",
                     *         "owner_id": "a1000000000000000000000000001001",
                     *         "presence_id": "1001",
                     *         "sip": {
                     *           "username": "1001"
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["DeviceAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    replaceDevice: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "name": "Front desk",
                 *         "presence_id": "1003",
                 *         "sip": {
                 *           "username": "1003"
                 *         }
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Device"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The device. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "d1000000000000000000000000001001",
                     *         "name": "Ada's desk phone",
                     *         "owner_id": "a1000000000000000000000000001001",
                     *         "presence_id": "1001",
                     *         "sip": {
                     *           "username": "1001"
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["DeviceAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    removeDevice: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The device. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "d1000000000000000000000000001001",
                     *         "name": "Ada's desk phone",
                     *         "owner_id": "a1000000000000000000000000001001",
                     *         "presence_id": "1001",
                     *         "sip": {
                     *           "username": "1001"
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["DeviceAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    changeDevice: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "presence_id": "1004"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Device"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The device. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "d1000000000000000000000000001001",
                     *         "name": "Ada's desk phone",
                     *         "owner_id": "a1000000000000000000000000001001",
                     *         "presence_id": "1001",
                     *         "sip": {
                     *           "username": "1001"
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["DeviceAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listUsers: {
        parameters: {
            query?: {
                /** @description false: all rows, whatever page_size says. */
                paginate?: components["parameters"]["paginate"];
                /** @description The most rows in the answer; without it all. next_start_key is the start_key of the next page. */
                page_size?: components["parameters"]["list_page_size"];
                /** @description The id at which the page begins. */
                start_key?: components["parameters"]["list_start_key"];
                /** @description Rows are whole documents instead of summaries. */
                full_docs?: components["parameters"]["full_docs"];
                /** @description Any number of filter_FIELD=VALUE and filter_not_FIELD=VALUE. Dots name fields of objects: filter_sip.username=1001. */
                filters?: components["parameters"]["filters"];
                /** @description Only rows that have this field. */
                has_key?: components["parameters"]["has_key"];
                /** @description Only rows that do not have this field. */
                key_missing?: components["parameters"]["key_missing"];
                /** @description Rows are sorted by id, the lowest first, with and without it. */
                ascending?: components["parameters"]["ascending"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Users, sorted by id. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "a1000000000000000000000000001001",
                     *           "first_name": "Ada",
                     *           "last_name": "Lovelace",
                     *           "username": "ada",
                     *           "presence_id": "1001",
                     *           "name": "Ada Lovelace"
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0",
                     *       "page_size": 1,
                     *       "start_key": "a1000000000000000000000000001001"
                     *     }
                     */
                    "application/json": components["schemas"]["UsersAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    createUser: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "first_name": "Grace",
                 *         "last_name": "Hopper",
                 *         "username": "grace",
                 *         "password": "change-me",
                 *         "presence_id": "1003"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["User"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The user. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "a1000000000000000000000000001001",
                     *         "first_name": "Ada",
                     *         "last_name": "Lovelace",
                     *         "username": "ada",
                     *         "presence_id": "1001"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["UserAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getUser: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "a1000000000000000000000000001001",
                     *         "first_name": "Ada",
                     *         "last_name": "Lovelace",
                     *         "username": "ada",
                     *         "presence_id": "1001"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["UserAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    replaceUser: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "first_name": "Grace",
                 *         "username": "grace"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["User"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "a1000000000000000000000000001001",
                     *         "first_name": "Ada",
                     *         "last_name": "Lovelace",
                     *         "username": "ada",
                     *         "presence_id": "1001"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["UserAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    removeUser: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "a1000000000000000000000000001001",
                     *         "first_name": "Ada",
                     *         "last_name": "Lovelace",
                     *         "username": "ada",
                     *         "presence_id": "1001"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["UserAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    changeUser: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "presence_id": "1004"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["User"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description The user. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "id": "a1000000000000000000000000001001",
                     *         "first_name": "Ada",
                     *         "last_name": "Lovelace",
                     *         "username": "ada",
                     *         "presence_id": "1001"
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["UserAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listUserDevices: {
        parameters: {
            query?: {
                /** @description false: all rows, whatever page_size says. */
                paginate?: components["parameters"]["paginate"];
                /** @description The most rows in the answer; without it all. next_start_key is the start_key of the next page. */
                page_size?: components["parameters"]["list_page_size"];
                /** @description The id at which the page begins. */
                start_key?: components["parameters"]["list_start_key"];
                /** @description Rows are whole documents instead of summaries. */
                full_docs?: components["parameters"]["full_docs"];
                /** @description Any number of filter_FIELD=VALUE and filter_not_FIELD=VALUE. Dots name fields of objects: filter_sip.username=1001. */
                filters?: components["parameters"]["filters"];
                /** @description Only rows that have this field. */
                has_key?: components["parameters"]["has_key"];
                /** @description Only rows that do not have this field. */
                key_missing?: components["parameters"]["key_missing"];
                /** @description Rows are sorted by id, the lowest first, with and without it. */
                ascending?: components["parameters"]["ascending"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Devices, sorted by id. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": [
                     *         {
                     *           "id": "d1000000000000000000000000001001",
                     *           "name": "Ada's desk phone",
                     *           "owner_id": "a1000000000000000000000000001001",
                     *           "presence_id": "1001",
                     *           "username": "1001",
                     *           "enabled": true
                     *         }
                     *       ],
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0",
                     *       "page_size": 1,
                     *       "start_key": "d1000000000000000000000000001001"
                     *     }
                     */
                    "application/json": components["schemas"]["DevicesAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    listSubscriptions: {
        parameters: {
            query?: {
                /** @description Only subscriptions to this event package. */
                event?: components["parameters"]["event"];
                /** @description Show the number of subscriptions instead of the subscriptions. */
                summary?: components["parameters"]["summary"];
                /** @description List the lamps that are early or confirmed instead of the subscriptions. Not with event or summary. */
                lit?: components["parameters"]["lit"];
                /** @description With lit=true: only lamps that have been lit for longer, such as 4h or 30m. */
                older_than?: components["parameters"]["older_than"];
                /** @description With lit=true: only lamps in this state, early or confirmed. */
                state?: components["parameters"]["lit_state"];
                /** @description With lit=true: only lamps that are lit by this. */
                source?: components["parameters"]["source"];
                /** @description The most extensions in the answer. Its next_start_key is the start_key of the next page. */
                page_size?: components["parameters"]["page_size"];
                /** @description The extension at which the listing begins. */
                start_key?: components["parameters"]["start_key"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The subscriptions, or with lit=true the lamps. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "subscriptions": {
                     *           "1001": {
                     *             "dialog": {
                     *               "call-1@10.0.0.9": {
                     *                 "expires": 1820,
                     *                 "from": "1002@acme.example.com",
                     *                 "notify": {
                     *                   "body": "undefined",
                     *                   "reply": 0,
                     *                   "sequence": 0
                     *                 },
                     *                 "stalker": "edge1",
                     *                 "timestamp": 63963057692,
                     *                 "version": 1
                     *               }
                     *             }
                     *           }
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["ListingAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    resetAccount: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "action": "reset"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["ResetAll"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description A word. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": "reset command sent for account",
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["TextAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    watchLamps: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The id of the last event that the client has, to go on behind it.
                 * @example 9a1c5f0e77d2b364-2
                 */
                "Last-Event-ID"?: string;
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example event: alive
                     *     data: {"stale":false}
                     */
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getReport: {
        parameters: {
            query?: never;
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                /**
                 * @description The report_id of the answer to a reset.
                 * @example 00000000000000035d0f3c7a9b1e4f68
                 */
                report_id: components["schemas"]["Id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The report. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "account_id": "4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *       "realm": "acme.example.com",
                     *       "action": "reset",
                     *       "at": "2026-11-28T04:02:05.1Z",
                     *       "by": "a token of account 4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10",
                     *       "address": "10.0.0.7",
                     *       "request_id": "3f93f9cac824e885592e0bdf09eb28e8",
                     *       "extensions": {
                     *         "*3101@acme.example.com": {
                     *           "extension": "*3101",
                     *           "state": "confirmed",
                     *           "dialogs": [],
                     *           "subscriptions": {}
                     *         }
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["Report"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getExtension: {
        parameters: {
            query?: {
                /** @description Also say why the lamp is as it is, and what each watcher was told. */
                explain?: components["parameters"]["explain"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                /** @description A user of the account's realm, or user@realm with a realm that the token's account may act on. */
                extension: components["parameters"]["extension"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The lamp of the extension. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "extension": "1001",
                     *         "state": "confirmed",
                     *         "dialogs": [
                     *           {
                     *             "call_id": "k-1@10.0.0.5",
                     *             "state": "confirmed",
                     *             "direction": "recipient",
                     *             "source": "call",
                     *             "from": "1001@acme.example.com",
                     *             "to": "2125550100@acme.example.com",
                     *             "since": "2026-11-28T04:01:34.683244Z",
                     *             "expires": "2026-11-29T04:01:34.683244Z"
                     *           }
                     *         ],
                     *         "subscriptions": {
                     *           "1001": {
                     *             "dialog": {
                     *               "call-1@10.0.0.9": {
                     *                 "expires": 1820,
                     *                 "from": "1002@acme.example.com",
                     *                 "notify": {
                     *                   "body": "undefined",
                     *                   "reply": 0,
                     *                   "sequence": 0
                     *                 },
                     *                 "stalker": "edge1",
                     *                 "timestamp": 63963057692,
                     *                 "version": 1
                     *               }
                     *             }
                     *           }
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["ExtensionAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    commandExtension: {
        parameters: {
            query?: {
                /** @description Wait for the replies of the watchers: true (5 s), or a duration such as 2s. The answer counts the replies. */
                wait?: components["parameters"]["wait"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                /** @description A user of the account's realm, or user@realm with a realm that the token's account may act on. */
                extension: components["parameters"]["extension"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "action": "reset"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Command"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description A word, or with `wait` how many watchers were told and answered. The change is durable. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": "reset command sent for extension 1001",
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["CommandAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getDevicePresence: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The extensions with their lamps. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "presence_ids": {
                     *           "1001@acme.example.com": {
                     *             "state": "early"
                     *           }
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["PresenceIdsAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    commandDevice: {
        parameters: {
            query?: {
                /** @description Wait for the replies of the watchers: true (5 s), or a duration such as 2s. The answer counts the replies. */
                wait?: components["parameters"]["wait"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                device_id: components["parameters"]["device_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "action": "set",
                 *         "state": "confirmed"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Command"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description A word, or with `wait` how many watchers were told and answered. The change is durable. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": "command sent",
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["CommandAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    getUserPresence: {
        parameters: {
            query?: {
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An ETag. While it still holds, the answer is 304 without a body. */
                "If-None-Match"?: components["parameters"]["if_none_match"];
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The extensions with their lamps. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": {
                     *         "presence_ids": {
                     *           "1001@acme.example.com": {
                     *             "state": "early"
                     *           }
                     *         }
                     *       },
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["PresenceIdsAnswer"];
                };
            };
            304: components["responses"]["Unchanged"];
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
    commandUser: {
        parameters: {
            query?: {
                /** @description Wait for the replies of the watchers: true (5 s), or a duration such as 2s. The answer counts the replies. */
                wait?: components["parameters"]["wait"];
                /** @description Indent the answer. The header X-Pretty-Print does the same. */
                pretty_print?: components["parameters"]["pretty_print"];
            };
            header?: {
                /** @description An id for the request, which the answer repeats. */
                "X-Request-ID"?: components["parameters"]["request_id"];
            };
            path: {
                account_id: components["parameters"]["account_id"];
                user_id: components["parameters"]["user_id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "data": {
                 *         "action": "set",
                 *         "state": "confirmed"
                 *       }
                 *     }
                 */
                "application/json": {
                    data?: components["schemas"]["Command"];
                    auth_token?: string;
                };
            };
        };
        responses: {
            /** @description A word, or with `wait` how many watchers were told and answered. The change is durable. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "auth_token": "eyJhbGciOiJ…yisBA",
                     *       "data": "command sent",
                     *       "node": "lamplight@a",
                     *       "request_id": "b06189df969eb16bed30dd873f13c068",
                     *       "revision": "72ca614f109e3582",
                     *       "status": "success",
                     *       "timestamp": "2026-11-28T04:01:32Z",
                     *       "version": "0.1.0"
                     *     }
                     */
                    "application/json": components["schemas"]["CommandAnswer"];
                };
            };
            400: components["responses"]["Invalid"];
            401: components["responses"]["Unauthorised"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["Unknown"];
            405: components["responses"]["Method"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["TooMany"];
            503: components["responses"]["Unreachable"];
        };
    };
}
