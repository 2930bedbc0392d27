# frozen_string_literal: true

require 'json'
require 'securerandom'
require 'socket'

# A Tasker server in little: it hands out the leases that a test offers, keeps what it is told, and answers as scripted.
class FakeServer
  # A call that came in.
  Call = Struct.new(:verb, :path, :body, :text, :headers, :connection, :at, keyword_init: true)

  # Seconds that anything is waited for.
  PATIENCE = 30.0

  attr_reader :port, :calls

  def initialize(lease_seconds: 30.0, port: 0)
    @lease_seconds = lease_seconds
    @lock = Mutex.new
    @changed = ConditionVariable.new
    @calls = []
    @offered = []
    @lost = []
    @scripts = Hash.new { |all, verb| all[verb] = [] }
    @results = {}
    @workers = []
    @sockets = []
    @held = {}
    listen(port)
  end

  def url = "http://127.0.0.1:#{@port}"

  # The next answer to a verb; a Proc is called with the call.
  def script(verb, status = nil, body = nil, headers = {}, &block)
    change { @scripts[verb] << (block || [status, body, headers]) }
  end

  def error(code, message, details: nil)
    { error: { code: code, message: message, details: details }.compact }
  end

  # Lets whoever leases have these.
  def offer(*leases)
    change { @offered.concat(leases) }
    leases
  end

  # Says at every heartbeat about it that a lease is lost.
  def lose(lease, reason: 'lost')
    change { @lost << [reason, key(lease)] }
  end

  # Leases that +recover+ answers besides those that were handed out.
  def grant_unheard(lease)
    change { @held[key(lease)] = lease }
  end

  # A large result that leases leave out.
  def keep_result(step_name, envelope)
    change { @results[step_name] = envelope }
  end

  # Forgets all workers.
  def forget_workers
    change { @workers.clear }
  end

  def calls_of(verb) = @lock.synchronize { @calls.select { |call| call.verb == verb } }

  def results = calls_of('report').flat_map { |call| call.body['results'] }

  # The first result that fits.
  def wait_for_result(&fits)
    wait_until('a result') { results_now.find(&(fits || :itself)) }
  end

  def wait_for_results(count)
    wait_until("#{count} results") { (found = results_now).size >= count && found }
  end

  def wait_for_call(verb, count: 1, &fits)
    wait_until("#{count} calls of #{verb}") do
      found = @calls.select { |call| call.verb == verb && (fits.nil? || fits.call(call)) }
      found[count - 1]
    end
  end

  # Waits until the block, called whenever something has changed, returns something.
  def wait_until(what)
    deadline = now + PATIENCE
    @lock.synchronize do
      until (found = yield)
        raise "there was no #{what} within #{PATIENCE} s; calls: #{@calls.map(&:verb).tally}" if now > deadline

        @changed.wait(@lock, 0.1)
      end
      found
    end
  end

  # As a server that dies: nothing listens any more, and all connections break.
  def stop
    @stopped = true
    @listener.close
    sockets = @lock.synchronize { @sockets.dup }
    sockets.each { |socket| socket.close unless socket.closed? }
    change { nil }
    @thread.join
  end

  def restart
    listen(@port)
  end

  private

  def listen(port)
    @stopped = false
    listener = @listener = TCPServer.new('127.0.0.1', port)
    @port = listener.local_address.ip_port
    @thread = Thread.new do
      while (socket = listener.accept)
        change { @sockets << socket }
        Thread.new(socket) { |each| serve(each) }
      end
    rescue IOError, SystemCallError
      nil
    end
  end

  def serve(socket)
    while (call = read_call(socket))
      change { @calls << call }
      status, body, headers = answer(call)
      return if status == :hang_up

      write(socket, status, body, headers || {})
    end
  rescue IOError, SystemCallError
    nil
  ensure
    socket.close unless socket.closed?
  end

  def read_call(socket)
    line = socket.gets or return nil
    verb, path = line.split
    headers = {}
    while (header = socket.gets&.chomp) && !header.empty?
      name, value = header.split(': ', 2)
      headers[name.downcase] = value
    end
    text = socket.read(headers['content-length'].to_i).force_encoding('UTF-8')
    body = headers['content-type'] == 'application/json' ? JSON.parse(text, max_nesting: false) : nil
    Call.new(verb: named(verb, path), path: path, body: body, text: text, headers: headers, connection: socket, at: now)
  end

  def named(verb, path)
    path.start_with?('/v1/worker/', '/v1/templates') ? path.split('/').last : "#{verb} #{path}"
  end

  def write(socket, status, body, headers)
    text = body.is_a?(String) ? body : JSON.generate(body, max_nesting: 0)
    lines = headers.map { |name, value| "#{name}: #{value}\r\n" }.join
    socket.write("HTTP/1.1 #{status} Fake\r\nContent-Length: #{text.bytesize}\r\n#{lines}\r\n#{text}")
  end

  def answer(call)
    scripted = @lock.synchronize { @scripts[call.verb].shift }
    scripted = scripted.call(call) if scripted.is_a?(Proc)
    return scripted if scripted
    return register(call) if call.verb == 'register'
    return [410, error('WORKER_UNKNOWN', 'register again')] if unknown?(call)

    respond_to?("on_#{call.verb}", true) ? send("on_#{call.verb}", call) : [404, error('NOT_FOUND', call.path)]
  end

  def unknown?(call)
    match = call.path.match(%r{\A/v1/worker/([^/]+)/})
    match && !@lock.synchronize { @workers.include?(match[1]) }
  end

  def register(call)
    id = call.body['worker_id'] || SecureRandom.uuid
    change { @workers << id }
    [200, { worker_id: id, lease_seconds: @lease_seconds, heartbeat_seconds: @lease_seconds / 3.0,
            max_wait_seconds: 30.0, namespaces: call.body['namespaces'] }]
  end

  def on_lease(call)
    granted = wait_at_most(call.body['wait_seconds']) { take(call.body['limit']) }
    [200, { leases: granted || [] }]
  end

  def on_report(call)
    accepted = call.body['results'].map { |result| result.slice('step_uuid', 'lease_id') }
    change { accepted.each { |each| @held.delete(each.values) } }
    leases = @lock.synchronize { take(call.body['lease']) || [] }
    [200, { accepted: accepted, refused: [], leases: leases, more_ready: false }]
  end

  def on_heartbeat(call)
    keys = call.body['leases'].map(&:values)
    lost = wait_at_most(call.body['wait_seconds']) do
      found = @lost.select { |_, key| keys.include?(key) }
      found unless found.empty?
    end
    names = ->(reason) { (lost || []).select { |why, _| why == reason }.map { |_, key| name(key) } }
    [200, { renewed: keys.size, lost: names.call('lost'), cancelled: names.call('cancelled') }]
  end

  def on_recover(_call)
    [200, { leases: @lock.synchronize { @held.values } }]
  end

  def on_results(call)
    [200, { results: call.body['names'].to_h { |name| [name, @results[name]] } }]
  end

  def on_release(call)
    change { call.body['leases'].each { |each| @held.delete(each.values) } }
    [200, { status: 'released' }]
  end

  def on_deregister(_call)
    [200, { status: 'stopped' }]
  end

  # Under lock.
  def take(limit)
    granted = @offered.shift(limit)
    granted.each { |lease| @held[key(lease)] = lease }
    granted unless granted.empty?
  end

  def wait_at_most(seconds)
    deadline = now + seconds
    @lock.synchronize do
      until (found = yield) || now >= deadline || @stopped
        @changed.wait(@lock, deadline - now)
      end
      found
    end
  end

  # Under lock.
  def results_now
    @calls.select { |call| call.verb == 'report' }.flat_map { |call| call.body['results'] }
  end

  def key(lease) = [lease['step_uuid'], lease['lease_id']]

  def name(key) = { step_uuid: key.first, lease_id: key.last }

  def change
    @lock.synchronize do
      yield.tap { @changed.broadcast }
    end
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end
