<?php
// A user's token, with the streams of PHP itself.
$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => ['Authorization: Bearer ' . getenv('SIGNET_API_KEY'), 'Content-Type: application/json'],
    'content' => json_encode(['userId' => 'usr_1', 'userRoles' => ['user']]),
    'timeout' => 5,
    'ignore_errors' => true,
]]);
$body = file_get_contents(getenv('SIGNET_URL') . '/token', false, $context);
if ($body === false) {
    throw new RuntimeException('signet does not answer');
}
$answer = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
if (!isset($answer['token'])) {
    throw new RuntimeException("no token: {$answer['status']} {$answer['code']} (request {$answer['requestId']})");
}
echo $answer['token'], "\n";
