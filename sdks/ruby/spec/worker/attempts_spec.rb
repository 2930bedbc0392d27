# frozen_string_literal: true

require 'spec_helper'

RSpec.describe TaskerCore::Worker::Attempts do
  subject(:attempts) { described_class.new(3) }

  let(:outcome) { TaskerCore::Worker::Outcome.refused({}, 'why') }

  def lease(id) = { 'step_uuid' => "step-#{id}", 'lease_id' => id }

  def add(id, limit: 10, now: 0) = attempts.add(lease(id), limit: limit, now: now)

  it 'needs at least one slot' do
    expect { described_class.new(0) }.to raise_error(ArgumentError, /at least 1/)
  end

  it 'counts what is held and what is promised against the slots' do
    add(1)
    attempts.promise(1)
    expect(attempts.free).to eq(1)
    attempts.redeem(1)
    expect(attempts.free).to eq(2)
  end

  it 'never has fewer than no free slots, even if more was recovered than there are' do
    (1..5).each { |id| add(id) }
    expect(attempts.free).to eq(0)
  end

  it 'does not start a lease twice' do
    expect(add(1)).not_to be_nil
    expect(add(1)).to be_nil
  end

  it 'keeps the slot of a handler that was given up until it returns' do
    attempt = add(1)
    attempts.lose([attempt.key])
    expect([attempts.size, attempts.free]).to eq([0, 2])
    expect(attempts.returned(attempt, outcome)).to be(false)
    expect(attempts.free).to eq(3)
  end

  it 'tells the handlers of lost leases to stop, and reports nothing of them' do
    attempt = add(1)
    expect(attempts.lose([attempt.key, ['step-9', 9]])).to eq([attempt])
    expect(attempt).to be_cancelled
    expect(attempts.take(10, 1000)).to eq([])
  end

  it 'does not lose what has ended: its report will tell' do
    attempt = add(1)
    attempts.returned(attempt, outcome)
    expect(attempts.lose([attempt.key])).to eq([])
    expect(attempt).not_to be_cancelled
  end

  it 'forgets even what has ended when the server forgets the worker' do
    ended = add(1)
    running = add(2)
    attempts.returned(ended, outcome)
    expect(attempts.lose_all).to eq([ended, running])
    expect([attempts.size, attempts.ended?]).to eq([0, false])
  end

  it 'counts only the first end of an attempt' do
    attempt = add(1)
    expect(attempts.finish(attempt, outcome)).to be(true)
    expect(attempts.returned(attempt, outcome)).to be(false)
    expect(attempts.take(10, 1000).size).to eq(1)
  end

  it 'takes outcomes in their order, up to a number and up to a size' do
    all = (1..3).map { |id| add(id) }
    all.each { |attempt| attempts.returned(attempt, outcome) }
    size = outcome.json.bytesize
    expect(attempts.take(2, size * 9)).to eq(all.first(2))
    attempts.put_back(all.first(2))
    expect(attempts.take(9, size * 2)).to eq(all.first(2))
    attempts.put_back(all.first(2))
    expect(attempts.take(9, 1)).to eq(all.first(1))
  end

  it 'knows whose time is up' do
    early = add(1, limit: 5)
    add(2, limit: 10)
    expect(attempts.next_deadline).to eq(5)
    expect(attempts.overdue(5)).to eq([early])
    attempts.finish(early, outcome)
    expect([attempts.overdue(6), attempts.next_deadline]).to eq([[], 10])
  end

  it 'adopts what the server holds for it, except what it runs or has reported meanwhile' do
    add(1)
    reported = add(2)
    attempts.watch_forgotten
    attempts.returned(reported, outcome)
    attempts.forget([reported])
    expect(attempts.unknown([lease(1), lease(2), lease(3)])).to eq([lease(3)])
  end
end

RSpec.describe TaskerCore::Worker::Watch do
  subject(:watch) { described_class.new }

  it 'is about leases that two looks found' do
    expect(watch.look([1])).to be(false)
    expect(watch.look([1, 2])).to be(true)
    expect(watch.begin_heartbeat).to eq([1])
    expect(watch.look([1])).to be(false)
  end

  it 'does not end the heartbeat that waits because steps have ended' do
    2.times { watch.look([1, 2]) }
    watch.begin_heartbeat
    expect(watch.look([1])).to be(false)
    expect(watch.look([])).to be(false)
  end
end

RSpec.describe TaskerCore::Worker::Backoff do
  subject(:backoff) { described_class.new(random: middle) }

  let(:middle) { Class.new { def rand(_range) = 1.0 }.new }

  it 'doubles from a quarter of a second to two' do
    expect(Array.new(5) { backoff.next }).to eq([0.25, 0.5, 1.0, 2.0, 2.0])
  end

  it 'waits at least as long as the server asks' do
    expect(backoff.next(7.0)).to eq(7.0)
    expect(backoff.next(0.1)).to eq(0.5)
  end

  it 'begins anew once the server has answered' do
    3.times { backoff.next }
    backoff.reset
    expect(backoff.next).to eq(0.25)
  end

  it 'spreads the pauses of many workers' do
    pauses = Array.new(50) { described_class.new.next }
    expect(pauses).to all(be_between(0.2, 0.3))
    expect(pauses.uniq.size).to be > 10
  end
end

RSpec.describe TaskerCore::Worker::Outcome do
  let(:lease) { { 'step_uuid' => 'step', 'lease_id' => 4 } }

  def failure_of(result) = described_class.of(lease, result).result['error']

  it 'tells successes, failures and checkpoints apart' do
    kinds = [{ 'success' => true }, { 'success' => false }, { 'checkpoint' => { 'cursor' => 1 } }]
    expect(kinds.map { |result| described_class.of(lease, result).kind }).to eq(%i[succeeded failed checkpoint])
  end

  it 'reports a permanent failure instead of a result that is too large' do
    error = failure_of('success' => true, 'result' => { 'text' => 'x' * (15 * 1024 * 1024) })
    expect(error).to include('error_type' => 'result_refused', 'retryable' => false)
    expect(error['message']).to match(/takes 15\d+ bytes/)
  end

  it 'reports a permanent failure instead of a result that has no JSON form' do
    expect(failure_of('success' => true, 'result' => Float::NAN)).to include('error_type' => 'result_refused')
    expect(failure_of('success' => true, 'result' => "\xFF")).to include('error_type' => 'result_refused')
  end

  it 'takes a result of any depth' do
    deep = (1..500).reduce('end') { |inner, _| [inner] }
    expect(described_class.of(lease, 'success' => true, 'result' => deep).kind).to eq(:succeeded)
  end

  it 'writes reasons so that they can be stored' do
    message = described_class.refused(lease, "a\u0000b\xFF").result['error']['message']
    expect(message).to include('a\x00b').and be_valid_encoding
  end
end

RSpec.describe TaskerCore::Worker::Answers do
  def answer(status, body = '{}', headers = {})
    TaskerCore::Client::Connection::Answer.new(status: status, headers: headers, body: body)
  end

  def error(code) = JSON.generate(error: { code: code, message: 'why', details: [{ field: 'x', message: 'is wrong' }] })

  it 'reads a good answer, however deep' do
    deep = "#{'[' * 300}#{']' * 300}"
    expect(described_class.read(answer(200, %({"a":#{deep}})))).to have_key('a')
  end

  {
    [404, 'WORKER_UNKNOWN'] => described_class::UnknownWorker, [410, 'WORKER_UNKNOWN'] => described_class::UnknownWorker,
    [404, 'NOT_FOUND'] => TaskerCore::Worker::AccessRefused, [401, 'UNAUTHORIZED'] => TaskerCore::Worker::AccessRefused,
    [403, 'FORBIDDEN'] => TaskerCore::Worker::AccessRefused, [408, 'X'] => TaskerCore::Worker::ServerUnavailable,
    [429, 'X'] => TaskerCore::Worker::ServerUnavailable, [500, 'X'] => TaskerCore::Worker::ServerUnavailable,
    [503, 'X'] => TaskerCore::Worker::ServerUnavailable, [400, 'X'] => TaskerCore::Worker::RequestRefused,
    [413, 'X'] => TaskerCore::Worker::RequestRefused, [422, 'X'] => TaskerCore::Worker::RequestRefused
  }.each do |(status, code), kind|
    it("takes #{status} #{code} for #{kind.name.split('::').last}") do
      expect { described_class.read(answer(status, error(code))) }.to raise_error(kind, /#{status} #{code}: why/)
    end
  end

  it 'keeps what is wrong with a request' do
    described_class.read(answer(422, error('INVALID')))
  rescue TaskerCore::Worker::RequestRefused => e
    expect([e.reason, e.details]).to eq(['why', ['is wrong']])
  end

  it 'takes an answer that is no JSON for an outage: a proxy may have given it' do
    expect { described_class.read(answer(200, '<html>')) }.to raise_error(TaskerCore::Worker::ServerUnavailable)
    expect { described_class.read(answer(502, '<html>')) }.to raise_error(TaskerCore::Worker::ServerUnavailable, /html/)
  end

  it 'reads Retry-After as seconds or as a time' do
    now = Time.at(1_700_000_000)
    expect(described_class.retry_after(answer(503, '', 'retry-after' => '7'))).to eq(7.0)
    later = answer(503, '', 'retry-after' => (now + 9).httpdate)
    expect(described_class.retry_after(later, now: now)).to eq(9.0)
    expect(described_class.retry_after(answer(503, '', 'retry-after' => 'soon'))).to be_nil
    expect(described_class.retry_after(answer(503))).to be_nil
  end
end
