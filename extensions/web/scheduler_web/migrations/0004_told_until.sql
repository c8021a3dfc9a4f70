-- Of which time the message of a period tells: a planned run of a later time sends its own.
ALTER TABLE public.web_reports ADD COLUMN told_until timestamptz;
UPDATE public.web_reports SET told_until = delivered_at WHERE delivered_at IS NOT NULL;
