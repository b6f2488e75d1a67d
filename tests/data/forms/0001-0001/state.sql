-- A home with two projects, people, keys of every kind, limits, budgets, alerts and what was done.
-- The keys themselves are in keys.toml.
INSERT INTO projects (seq, id, name, created_at, archived_at, tier, model_permissions) VALUES
  (1, 'proj_default00000000000001', 'Default project', 1764000000, NULL, NULL, NULL),
  (2, 'proj_blue0000000000000002', 'Blue – größer', 1764000100, NULL, '3', '{"mode": "allow_list", "model_ids": ["echo"]}'),
  (3, 'proj_gone0000000000000003', 'Gone', 1764000200, 1764100200, NULL, NULL);
INSERT INTO users (seq, id, name, email, role, added_at) VALUES
  (1, 'user-ann0000000000000001', 'Ann', 'ann@example.com', 'owner', 1764000010),
  (2, 'user-bob0000000000000002', NULL, 'bob@example.com', 'reader', 1764000020);
INSERT INTO project_users (seq, project_id, user_id, role, added_at) VALUES
  (1, 'proj_blue0000000000000002', 'user-ann0000000000000001', 'owner', 1764000110),
  (2, 'proj_blue0000000000000002', 'user-bob0000000000000002', 'member', 1764000120);
INSERT INTO invites (seq, id, email, role, created_at, expires_at, accepted_at, projects) VALUES
  (1, 'invite-000000000000000001', 'carl@example.com', 'reader', 1764000300, 1764604800, NULL, '[{"id": "proj_blue0000000000000002", "role": "member"}]');
INSERT INTO service_accounts (seq, id, project_id, name, role, created_at) VALUES
  (1, 'svc_acct_00000000000000001', 'proj_blue0000000000000002', 'ci', 'member', 1764000400);
INSERT INTO keys (seq, id, kind, project_id, name, sha256, redacted, created_at, expires_at, last_used_at, user_id, service_account_id, scopes, models, rate_limits, replaced_by) VALUES
  (1, 'key_owner00000000001', 'owner', 'proj_default00000000000001', 'first key', X'f8dc7ac06280c838d605ebd3b963e56f7082a23e5078ae379db325284b618b49', 'sk-homeport-up...01', 1764000000, NULL, 1764050000, NULL, NULL, NULL, NULL, NULL, NULL),
  (2, 'key_admin00000000002', 'admin', NULL, 'admin', X'2f0c6acc51c9cd8f63df1134b139be244c1cdaa04ed202e766ca85a21ea0c386', 'sk-admin-homep...01', 1764000001, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, 'key_blue000000000003', 'project', 'proj_blue0000000000000002', 'ann''s', X'a3e2f53cad5c39926afa734c5fa733589d52c5cb1aced48e312790946c121902', 'sk-homeport-up...01', 1764000500, NULL, 1764060000, 'user-ann0000000000000001', NULL, '["model.request", "model.read"]', '["echo"]', '{"max_requests_per_1_minute": 500}', NULL),
  (4, 'key_spent00000000004', 'project', 'proj_blue0000000000000002', 'old', X'02fc7a67fe5f1a08e73bfbcbd14f5aea344e1e2b7ef27ddf10fc8042c175fad2', 'sk-homeport-up...01', 1764000600, 1764000700, NULL, NULL, 'svc_acct_00000000000000001', NULL, NULL, NULL, 'key_blue000000000003');
INSERT INTO rate_limits (seq, project_id, model, max_requests_per_1_minute, max_tokens_per_1_minute, max_concurrent_requests, batch_1_day_max_input_tokens) VALUES
  (1, 'proj_blue0000000000000002', 'echo', 1000, NULL, 8, 5000000);
INSERT INTO spend_limits (seq, scope, subject, "interval", threshold_cents) VALUES
  (1, 'organization', '', 'month', 100000),
  (2, 'project', 'proj_blue0000000000000002', 'month', 5000),
  (3, 'key', 'key_blue000000000003', 'total', 700);
INSERT INTO spend_alerts (seq, id, project_id, threshold_cents, "interval", notification_channel, told_for) VALUES
  (1, 'spend_alert_0000000000001', 'proj_blue0000000000000002', 2500, 'month', '{"type": "email", "recipients": ["ann@example.com"]}', '2025-11');
INSERT INTO audit_logs (seq, id, type, effective_at, actor, actor_id, project_id, project_name, resource_id, details) VALUES
  (1, 'audit_log-0000000000000001', 'project.created', 1764000100, '{"type": "api_key", "api_key": {"id": "key_owner00000000001", "type": "user"}}', 'key_owner00000000001', 'proj_blue0000000000000002', 'Blue – größer', 'proj_blue0000000000000002', '{"id": "proj_blue0000000000000002", "data": {"name": "Blue – größer", "title": null}}'),
  (7, 'audit_log-0000000000000007', 'api_key.created', 1764000500, '{"type": "session"}', NULL, 'proj_blue0000000000000002', 'Blue – größer', 'key_blue000000000003', '{"id": "key_blue000000000003"}');
INSERT INTO idempotency_keys (scope, digest, owner, request_id, content_type, body, until) VALUES
  (X'00ff10', X'0102', NULL, 'req_019a00000000000000000000000000ff', 'application/json', X'7b7d', 4102444800);
UPDATE revision SET value = 41;
