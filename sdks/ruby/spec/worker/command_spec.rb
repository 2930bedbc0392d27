# frozen_string_literal: true

require 'open3'
require 'spec_helper'
require 'tasker_core/worker/command'
require 'tmpdir'
require_relative 'support/worker_helpers'

RSpec.describe 'tasker-worker', :worker do
  root = File.expand_path('../..', __dir__)
  command = [RbConfig.ruby, '-I', File.join(root, 'lib'), File.join(root, 'exe', 'tasker-worker')]

  around { |example| Dir.mktmpdir { |directory| (@directory = directory) && example.run } }

  def write(name, text) = File.join(@directory, name).tap { |path| File.write(path, text) }

  let(:handlers) do
    write('handlers.rb', <<~RUBY)
      require 'tasker_core'
      class CommandSpecCharge < TaskerCore::StepHandler::Base
        def call(context)
          File.write('#{@directory}/started', '')
          sleep(context.get_input_or(:seconds, 0))
          success(result: { charged: true })
        end
      end
    RUBY
  end

  define_method(:run) do |*arguments, **environment|
    Open3.capture3(environment.transform_keys(&:to_s), *command, *arguments, chdir: @directory)
  end

  # A running command, ended after the example; its standard error goes to a file.
  define_method(:start) do |*arguments, **environment|
    @log_file = File.join(@directory, 'log')
    @pid = Process.spawn({ 'TASKER_ORCHESTRATION_URL' => server.url, **environment.transform_keys(&:to_s) }, *command,
                         *arguments, chdir: @directory, err: @log_file)
  end

  after do
    Process.kill(:KILL, @pid) && Process.wait(@pid) if @pid
  end

  def exit_code
    pid = @pid
    status = wait_for('the end of the process') { Process.wait2(pid, Process::WNOHANG) }.last
    @pid = nil
    status.exitstatus
  end

  it 'teaches how to use it' do
    out, _, status = run('--help')
    expect(status.exitstatus).to eq(0)
    %w[--server --templates --namespace --concurrency --name --shutdown-timeout --wait-for --health-bind --log-format
       --version SIGTERM TASKER_API_KEY Examples Exit].each { |word| expect(out).to include(word) }
  end

  it 'refuses to run nothing' do
    _, errors, status = run
    expect([errors.lines.first, status.exitstatus])
      .to eq(["tasker-worker: there are no handlers: name files or directories that have some\n", 2])
  end

  it 'says its version' do
    expect(run('--version').first).to eq("tasker-worker #{TaskerCore::VERSION}\n")
  end

  {
    ['--concurrency', 'many'] => /concurrency must be a number/, ['--frobnicate'] => /invalid option: --frobnicate/,
    ['--server', 'tasker'] => /must begin with http/, ['missing.rb'] => /no file or directory missing.rb/,
    ['--templates', 'nowhere'] => /no file or directory of templates at nowhere/, ['--health-bind', 'x'] => /HOST:PORT/,
    ['--log-format', 'xml'] => /invalid argument: --log-format xml/
  }.each do |arguments, message|
    it "refuses #{arguments.join(' ')} with one clear line" do
      _, err, status = run(*arguments)
      expect(status.exitstatus).to eq(2)
      expect(err.lines.first).to match(/\Atasker-worker: .*#{message}/)
      expect(err.lines.size).to eq(2)
    end
  end

  it 'says which handler file cannot be loaded, and why' do
    write('broken.rb', "def broken\n")
    _, err, status = run('broken.rb')
    expect(status.exitstatus).to eq(2)
    expect(err).to match(/\Atasker-worker: broken.rb cannot be loaded: .*SyntaxError/)
  end

  it 'refuses a directory without handlers' do
    Dir.mkdir(File.join(@directory, 'empty'))
    expect(run('empty')[1]).to include('there are no Ruby files in empty')
  end

  it 'runs handlers until SIGTERM, lets them finish, and ends with 0' do
    start(handlers, '--name', 'by-command')
    server.wait_for_call('lease')
    expect(server.calls_of('register').first.body).to include('name' => 'by-command')
    server.offer(lease_of('CommandSpecCharge', context: { seconds: 0.5 }))
    wait_for('the handler') { File.exist?(File.join(@directory, 'started')) }
    Process.kill(:TERM, @pid)
    expect(exit_code).to eq(0)
    expect(server.results.first).to include('success' => true, 'result' => { 'charged' => true })
    expect(server.calls.last.verb).to eq('deregister')
    lines = File.readlines(@log_file).map { |line| JSON.parse(line) }
    expect(lines.map { |line| line['event'] }).to eq(%w[worker_registered worker_started worker_stopped])
    expect(lines).to all(include('timestamp', 'level', 'logger'))
  end

  it 'leaves at once on a second signal' do
    start(handlers)
    server.wait_for_call('lease')
    server.offer(lease_of('CommandSpecCharge', context: { seconds: 60 }))
    wait_for('the handler') { File.exist?(File.join(@directory, 'started')) }
    Process.kill(:INT, @pid)
    server.wait_for_call('recover') # it has begun to stop
    Process.kill(:INT, @pid)
    expect(exit_code).to eq(130)
  end

  it 'ends with 4 where the credentials are refused' do
    server.script('register', 401, server.error('UNAUTHORIZED', 'no such key'))
    start(handlers, TASKER_API_KEY: 'wrong')
    expect(exit_code).to eq(4)
    expect(File.read(@log_file)).to match(/^tasker-worker: .*401 UNAUTHORIZED: no such key$/)
  end

  it 'ends with 5 where there is no server' do
    server.stop
    _, err, status = run(handlers, '--server', server.url, '--wait-for', '0.1')
    expect(status.exitstatus).to eq(5)
    expect(err).to match(/^tasker-worker: no connection to/)
  end

  it 'ends with 1 if the health endpoint cannot listen' do
    taken = TCPServer.new('127.0.0.1', 0)
    _, err, status = run(handlers, '--server', server.url, '--health-bind', "127.0.0.1:#{taken.local_address.ip_port}")
    expect(status.exitstatus).to eq(1)
    expect(err).to include('the health endpoint cannot listen on 127.0.0.1:')
  ensure
    taken.close
  end
end
