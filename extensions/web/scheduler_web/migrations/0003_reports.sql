-- Where the application keeps its traffic reports, created only where it is absent, and what became of each message.
CREATE TABLE IF NOT EXISTS public.admin_traffic_reports (
    id text PRIMARY KEY,
    report_date date NOT NULL,
    report_period text NOT NULL DEFAULT 'am',
    report_data jsonb NOT NULL,
    generated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (report_date, report_period)
);

-- One row for each report and period. `delivery`: none, sending, sent, failed, uncertain. A row that still says
-- sending after its run has ended may have been sent, and is not sent again.
CREATE TABLE IF NOT EXISTS public.web_reports (
    report text NOT NULL,
    day date NOT NULL,
    period text NOT NULL,
    data jsonb NOT NULL,
    generated_at timestamptz NOT NULL DEFAULT now(),
    delivery text NOT NULL DEFAULT 'none'
        CHECK (delivery IN ('none', 'sending', 'sent', 'failed', 'uncertain')),
    delivered_at timestamptz,
    run_id text,
    message_id text,
    PRIMARY KEY (report, day, period)
);
