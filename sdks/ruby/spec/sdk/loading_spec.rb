# frozen_string_literal: true

require 'open3'
require 'rbconfig'
require 'tmpdir'

RSpec.describe 'loading the gem' do
  lib = File.expand_path('../../lib', __dir__)
  root = File.expand_path('../..', __dir__)

  def ruby(*arguments, **options)
    Open3.capture2e(RbConfig.ruby, *arguments, **options)
  end

  it 'starts no thread, opens nothing, and warns of nothing' do
    script = <<~'RUBY'
      before = Dir.exist?('/proc/self/fd') ? Dir.children('/proc/self/fd').size : 0
      require 'tasker_core'
      require 'tasker_core/test_helpers'
      after = Dir.exist?('/proc/self/fd') ? Dir.children('/proc/self/fd').size : 0
      puts "threads #{Thread.list.size}, opened #{after - before}"
    RUBY

    expect(ruby('-w', "-I#{lib}", '-e', script).first).to eq("threads 1, opened 0\n")
  end

  it 'needs no gems' do
    output, status = ruby('--disable-gems', "-I#{lib}", '-e', "require 'tasker_core'; puts TaskerCore::VERSION")

    expect(status).to be_success, output
    expect(output).to eq("#{TaskerCore::VERSION}\n")
  end

  it 'has no file that Ruby warns of' do
    files = Dir[File.join(root, '{lib,exe,live,spec}', '**', '*')].select do |file|
      File.file?(file) && File.read(file).include?('# frozen_string_literal: true')
    end
    output, = ruby('-wc', *files)

    expect(output.lines.grep_v(/Syntax OK/)).to be_empty
    expect(files.size).to be > 50
  end

  it 'can be built, installed and used as a gem' do
    Dir.mktmpdir do |directory|
      gem_file = File.join(directory, 'tasker.gem')
      output, status = ruby('-S', 'gem', 'build', 'tasker-rb.gemspec', '--output', gem_file, chdir: root)
      expect(status).to be_success, output

      output, status = ruby('-S', 'gem', 'install', '--local', '--no-document', '--install-dir', directory, gem_file)
      expect(status).to be_success, output

      script = "require 'tasker_core'; puts Gem.loaded_specs.fetch('tasker-rb').version, TaskerCore::Client.name"
      output, = Open3.capture2e({ 'GEM_PATH' => directory }, RbConfig.ruby, '-e', script)
      expect(output).to eq("#{TaskerCore::VERSION}\nTaskerCore::Client\n")
      expect(File).to exist(File.join(directory, 'bin', 'tasker-worker'))
    end
  end
end
